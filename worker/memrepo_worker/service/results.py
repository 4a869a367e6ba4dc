"""What a producer is told of a settled request, from its ledger line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from memrepo.models import Author, Branch, CommitResult, FileChange, MemoryCommit, MergeKind, MergeResult, Tag
from memrepo.wire import operations
from memrepo.wire.operations import Asked, Operation, Result
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.edits import EditModel
from memrepo.wire.requests.forks import ForkRequest
from memrepo.wire.requests.merges import MergeRequest
from memrepo.wire.requests.tags import CreateTagRequest
from memrepo.wire.requests.writes import (
    CommitRequest,
    CreateBranchRequest,
    CreateRepoRequest,
    RestoreRequest,
    paths_of,
)
from memrepo_worker.git.objects import Commit, printable
from memrepo_worker.git.walk import differences
from memrepo_worker.journal.ledger import COMMITTED, UNCHANGED, LedgerLine
from memrepo_worker.repos.state import RepoState
from memrepo_worker.service.commits import Described, describe
from memrepo_worker.service.refs import tag_ref
from memrepo_worker.service.writes.merge import MERGED_INTO
from memrepo_worker.service.writes.rebase import REBASED_FROM


class Answering(Described, Protocol):
    """What is needed of a repository to tell what became of a write."""

    @property
    def state(self) -> RepoState:
        """How far it has come."""
        ...


def result_of(request: Request, line: LedgerLine, repo: Answering) -> object:
    """Return the result of a write that succeeded, also long after it did."""
    return RESULTS[type(request)](request, line, repo)


def _of_commit(request: CommitRequest, line: LedgerLine, repo: Answering) -> CommitResult:
    return _commit_result(request.author, _paths(request.changes), request.branch, line, repo)


def _of_create_repo(request: CreateRepoRequest, line: LedgerLine, repo: Answering) -> CommitResult:
    return _commit_result(request.author, _paths(request.initial_files), "main", line, repo)


def _of_restore(request: RestoreRequest, line: LedgerLine, repo: Answering) -> CommitResult:
    return _commit_result(request.author, [], request.branch, line, repo)


def _of_fork(request: ForkRequest, line: LedgerLine, repo: Answering) -> CommitResult:
    return _commit_result(request.author, [], "main", line, repo)


def _of_merge(request: MergeRequest, line: LedgerLine, repo: Answering) -> MergeResult:
    made: MergeKind = "squash" if request.squash else "merge"
    kind: MergeKind = made if line.verdict == COMMITTED else "fast_forward"
    if line.verdict == UNCHANGED:
        kind = "up_to_date"
    if repo.state.seal and repo.reader.maybe(line.sha) is None:  # deleted since
        return MergeResult(sha=line.sha, kind=kind, parents=[], files_changed=[])
    commit = repo.reader.commit(line.sha)
    before = _head_before(kind, line, commit)
    old = None if before is None else repo.reader.commit(before).tree
    changed = [printable(delta.path) for delta in differences(repo.reader, old, commit.tree)]
    return MergeResult(sha=line.sha, kind=kind, parents=list(commit.parents), files_changed=changed)


def _head_before(kind: MergeKind, line: LedgerLine, commit: Commit) -> str | None:
    """Return where a merge's target was before it."""
    if kind == "up_to_date":
        return line.sha
    return line.detail.get(MERGED_INTO) if kind == "fast_forward" else commit.parents[0]


def _of_create_branch(request: CreateBranchRequest, line: LedgerLine, repo: Answering) -> Branch:
    return Branch(name=request.name, sha=line.sha)


def _of_create_tag(request: CreateTagRequest, line: LedgerLine, repo: Answering) -> Tag:
    return Tag(name=request.name, ref=tag_ref(request.name), sha=line.sha)


def _nothing(request: Request, line: LedgerLine, repo: Answering) -> None:
    return None


def _row(
    operation: Operation[Asked, Result], tell: Callable[[Asked, LedgerLine, Answering], Result]
) -> tuple[type[Request], Callable[[Any, LedgerLine, Answering], Any]]:
    """Pair a request with what makes its result. Type checkers see that they belong together."""
    return operation.request, tell


RESULTS: Mapping[type[Request], Callable[[Any, LedgerLine, Answering], Any]] = dict(
    [
        _row(operations.CREATE_REPO, _of_create_repo),
        _row(operations.COMMIT, _of_commit),
        _row(operations.RESTORE, _of_restore),
        _row(operations.MERGE, _of_merge),
        _row(operations.FORK, _of_fork),
        _row(operations.CREATE_BRANCH, _of_create_branch),
        _row(operations.DELETE_BRANCH, _nothing),
        _row(operations.CREATE_TAG, _of_create_tag),
        _row(operations.DELETE_TAG, _nothing),
        _row(operations.DELETE_REPO, _nothing),
    ]
)
"""What each write is answered with, from its ledger line."""


def _paths(changes: Sequence[FileChange | EditModel]) -> list[str]:
    """Return the paths that changes name, each once."""
    return list(dict.fromkeys(path for change in changes for path in paths_of(change)))


def _commit_result(
    author: Author, paths: list[str], branch: str, line: LedgerLine, repo: Answering
) -> CommitResult:
    commit = describe_if_present(line.sha, repo) or _from_request(author, paths, line)
    return CommitResult(
        **commit.model_dump(),
        branch=branch,
        created=line.verdict == COMMITTED,
        new_branch=line.new_branch,
        rebased_from=line.detail.get(REBASED_FROM),
    )


def describe_if_present(sha: str, repo: Answering) -> MemoryCommit | None:
    """Describe a commit, unless its repository was deleted after it."""
    if repo.state.seal and repo.reader.maybe(sha) is None:
        return None
    return describe(repo, sha)


def _from_request(author: Author, paths: list[str], line: LedgerLine) -> MemoryCommit:
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
        files_changed=paths,
        additions=0,
        deletions=0,
        request_id=line.request_id,
    )
