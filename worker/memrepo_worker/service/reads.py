"""What each reading request answers, from the refs as it found them and the objects of the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from memrepo.errors import PathNotFoundError, RefNotFoundError
from memrepo.limits import Limits
from memrepo.models import Branch, Diff, FileInfo, MemoryCommit, MemoryFile, RequestOutcome, Snapshot, Tag
from memrepo.wire import operations
from memrepo.wire.operations import Asked, Operation, Result
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.reads import (
    DiffRequest,
    FindRequestRequest,
    GetCommitRequest,
    GetFileRequest,
    GetFilesRequest,
    GetHeadShaRequest,
    GetHistoryRequest,
    ListBranchesRequest,
    ListFilesRequest,
)
from memrepo.wire.requests.tags import ListTagsRequest
from memrepo_worker.git.objects import TreeEntry, printable
from memrepo_worker.git.walk import ancestors, differences, files, files_after, lookup
from memrepo_worker.group import Agent
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.answer_size import AnswerSize
from memrepo_worker.service.commits import describe, describe_file
from memrepo_worker.service.find_request import find_outcome
from memrepo_worker.service.forks.origins import get_origins
from memrepo_worker.service.preview import preview_merge
from memrepo_worker.service.refs import branch_head, commit_of, require_repo, resolve, tag_ref
from memrepo_worker.service.search.files import search
from memrepo_worker.service.writes.revisions import is_at_or_below


def answer(request: Request, view: View, repo: WarmRepo, agent: Agent, limits: Limits) -> object:
    """Return a read's result, of its operation's result type.

    Raises:
        MemoryRepoError: what the request asks for is not there, or too large.
    """
    if not isinstance(request, FindRequestRequest):  # a deleted memory has a ledger too
        require_repo(view, agent)
    return READS[type(request)](request, view, repo, limits)


def _get_files(request: GetFilesRequest, view: View, repo: WarmRepo, limits: Limits) -> Snapshot:
    sha = resolve(request.ref, view, repo.reader)
    tree = repo.reader.commit(sha).tree
    if request.paths is None:
        wanted: Iterable[tuple[str, TreeEntry]] = files(repo.reader, tree)
    else:
        wanted = _some(request.paths, tree, repo)
    size, chosen = AnswerSize(limits, "paths", "the files are", "ask for fewer with paths="), []
    for path, entry in wanted:  # before one is read: what is too large must not be in memory to be refused
        size.add(repo.reader.size(entry.sha))
        chosen.append((path, entry))
    files_found = {printable(path): _file(path, entry, repo) for path, entry in chosen}
    return Snapshot(commit_sha=sha, files=files_found)


def _some(paths: Iterable[str], tree: str, repo: WarmRepo) -> Iterator[tuple[str, TreeEntry]]:
    """Yield those of the paths that are there."""
    for path in paths:
        entry = lookup(repo.reader, tree, path)
        if entry is not None:
            yield path, entry


def _file(path: str, entry: TreeEntry, repo: WarmRepo) -> MemoryFile:
    data = repo.reader.blob(entry.sha)
    return MemoryFile(
        path=printable(path), data=data, sha=entry.sha, size=len(data), executable=entry.executable
    )


def _get_file(request: GetFileRequest, view: View, repo: WarmRepo, limits: Limits) -> MemoryFile:
    sha = resolve(request.ref, view, repo.reader)
    entry = lookup(repo.reader, repo.reader.commit(sha).tree, request.path)
    if entry is None:
        raise PathNotFoundError(
            f"{request.path!r} is no file at {request.ref}", {"path": request.path, "ref": request.ref}
        )
    AnswerSize(limits, "path", "the file is").add(repo.reader.size(entry.sha))
    return _file(request.path, entry, repo)


def _list_files(request: ListFilesRequest, view: View, repo: WarmRepo, limits: Limits) -> list[FileInfo]:
    tree = repo.reader.commit(resolve(request.ref, view, repo.reader)).tree
    listed = files_after(repo.reader, tree, request.prefix, request.after or "")
    return [
        FileInfo(
            path=printable(path),
            sha=entry.sha,
            size=repo.reader.size(entry.sha),
            executable=entry.executable,
        )
        for path, entry in islice(listed, request.limit)
    ]


def _get_history(
    request: GetHistoryRequest, view: View, repo: WarmRepo, limits: Limits
) -> list[MemoryCommit]:
    start = resolve(request.ref, view, repo.reader)
    shas: Iterator[str]
    if request.path is not None:
        shas = iter(
            repo.commits_touching(start, request.path, request.limit if request.after is None else None)
        )
    else:
        shas = (sha for sha, _ in ancestors(repo.reader, start))
    # What was told before is passed over, since behind a merge older commits are not all ancestors of ``after``.
    after = None if request.after is None else resolve(request.after, view, repo.reader)
    if after is not None and after not in shas:
        raise RefNotFoundError(
            f"{request.after!r} is not in that history: begin anew, without after", {"ref": request.after}
        )
    size = AnswerSize(limits, "limit", "the messages of these commits are", "ask for fewer at once")
    found = []
    for sha in islice(shas, request.limit):
        found.append(describe(repo, sha))
        size.add(len(found[-1].message))
    return found


def _get_commit(request: GetCommitRequest, view: View, repo: WarmRepo, limits: Limits) -> MemoryCommit:
    return describe(repo, resolve(request.ref, view, repo.reader))


def _diff(request: DiffRequest, view: View, repo: WarmRepo, limits: Limits) -> Diff:
    base, target = (resolve(ref, view, repo.reader) for ref in (request.base, request.target))
    trees = [repo.reader.commit(sha).tree for sha in (base, target)]
    size, compared = AnswerSize(limits, "paths", "the patches are", "ask for fewer with paths="), []
    for delta in list(differences(repo.reader, *trees)):
        if request.paths is not None and not any(is_at_or_below(delta.path, path) for path in request.paths):
            continue
        compared.append(describe_file(repo, delta))
        size.add(len(compared[-1].patch))
    return Diff(base_sha=base, target_sha=target, files=compared)


def _list_branches(
    request: ListBranchesRequest,
    view: View,
    repo: WarmRepo,
    limits: Limits,
) -> list[Branch]:
    heads = "refs/heads/"
    return [
        Branch(name=name.removeprefix(heads), sha=sha)
        for name, sha in sorted(view.refs.items())
        if name.startswith(heads)
    ]


def _list_tags(request: ListTagsRequest, view: View, repo: WarmRepo, limits: Limits) -> list[Tag]:
    """Return the tags that lead to a commit; an adopted history may have others."""
    found = (
        (ref, commit_of(sha, repo.reader))
        for ref, sha in sorted(view.refs.items())
        if ref.startswith(tag_ref(""))
    )
    return [
        Tag(name=ref.removeprefix(tag_ref("")), ref=ref, sha=sha) for ref, sha in found if sha is not None
    ]


def _find_request(
    request: FindRequestRequest, view: View, repo: WarmRepo, limits: Limits
) -> RequestOutcome | None:
    return find_outcome(request.wanted, view, repo)


def _get_head_sha(request: GetHeadShaRequest, view: View, repo: WarmRepo, limits: Limits) -> str:
    return branch_head(request.branch, view.refs)


def _row(
    operation: Operation[Asked, Result], handle: Callable[[Asked, View, WarmRepo, Limits], Result]
) -> tuple[type[Request], Callable[[Any, View, WarmRepo, Limits], Any]]:
    """Pair a request with what answers it. Type checkers see that they belong together, and the result to both."""
    return operation.request, handle


READS: Mapping[type[Request], Callable[[Any, View, WarmRepo, Limits], Any]] = dict(
    [
        _row(operations.GET_FILES, _get_files),
        _row(operations.GET_FILE, _get_file),
        _row(operations.LIST_FILES, _list_files),
        _row(operations.GET_HISTORY, _get_history),
        _row(operations.GET_COMMIT, _get_commit),
        _row(operations.GET_HEAD_SHA, _get_head_sha),
        _row(operations.DIFF, _diff),
        _row(operations.SEARCH, search),
        _row(operations.PREVIEW_MERGE, preview_merge),
        _row(operations.GET_ORIGINS, get_origins),
        _row(operations.LIST_BRANCHES, _list_branches),
        _row(operations.LIST_TAGS, _list_tags),
        _row(operations.FIND_REQUEST, _find_request),
    ]
)
"""What answers each read."""
