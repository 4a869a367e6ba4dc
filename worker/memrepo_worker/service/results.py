"""What a producer is told of a settled request, from its ledger line."""

from __future__ import annotations

from datetime import UTC, datetime

from memrepo.models import Author, Branch, CommitResult, FileChange, MemoryCommit
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import CommitRequest, CreateBranchRequest, CreateRepoRequest, RestoreRequest
from memrepo_worker.journal.ledger import COMMITTED, LedgerLine
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.commits import describe


def result_of(request: Request, line: LedgerLine, repo: WarmRepo) -> CommitResult | Branch | None:
    """Return the result of a request that succeeded, also long after it did."""
    match request:
        case CommitRequest():
            return _commit_result(request, request.changes, request.branch, line, repo)
        case CreateRepoRequest():
            return _commit_result(request, request.initial_files, "main", line, repo)
        case RestoreRequest():
            return _commit_result(request, (), request.branch, line, repo)
        case CreateBranchRequest():
            return Branch(name=request.name, sha=line.sha)
    return None


def _commit_result(
    request: CommitRequest | CreateRepoRequest | RestoreRequest,
    changes: tuple[FileChange, ...],
    branch: str,
    line: LedgerLine,
    repo: WarmRepo,
) -> CommitResult:
    commit = describe_if_present(line.sha, repo) or _from_request(request.author, changes, line)
    return CommitResult(
        **commit.model_dump(), branch=branch, created=line.verdict == COMMITTED, new_branch=line.new_branch
    )


def describe_if_present(sha: str, repo: WarmRepo) -> MemoryCommit | None:
    """Describe a commit, unless its repository was deleted after it."""
    if repo.state.seal and repo.reader.maybe(sha) is None:
        return None
    return describe(repo, sha)


def _from_request(author: Author, changes: tuple[FileChange, ...], line: LedgerLine) -> MemoryCommit:
    """Describe a commit whose repository was deleted after it: what the request says is all that is left."""
    return MemoryCommit(
        sha=line.sha,
        parent_sha=None,
        message="",
        author_type=author.type,
        author_id=author.id,
        author_name=author.name,
        author_email=author.email,
        timestamp=datetime.fromtimestamp(int(line.enqueued_at), UTC),
        files_changed=[change.path for change in changes],
        additions=0,
        deletions=0,
        request_id=line.request_id,
    )
