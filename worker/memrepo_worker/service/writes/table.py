"""What each mutating request does to a draft.

A request succeeds, or fails on the state that it meets; both are settled by a line in the ledger, so that the same
request seen again gets the same answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from memrepo.errors import (
    ContentMovedError,
    MemoryRepoError,
    RepoExistsError,
    RepoNotFoundError,
)
from memrepo.models import FileChange
from memrepo.wire import operations
from memrepo.wire.operations import Asked, Operation
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.edits import Edit
from memrepo.wire.requests.forks import ForkRequest
from memrepo.wire.requests.writes import (
    CommitRequest,
    CreateRepoRequest,
    DeleteRepoRequest,
)
from memrepo_worker.git.edits import FileEdit
from memrepo_worker.git.objects import NULL_SHA
from memrepo_worker.git.walk import lookup
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import HEAD_BRANCH
from memrepo_worker.journal.ledger import BRANCH_BEGUN, COMMITTED, DELETED, UNCHANGED, LedgerLine
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.refs import branch_ref, refuse_legacy, require_repo, resolve
from memrepo_worker.service.writes.edits import commit_edits
from memrepo_worker.service.writes.fork import fork
from memrepo_worker.service.writes.merge import merge
from memrepo_worker.service.writes.rebase import (
    REBASED_FROM,
    merged_edits,
    refuse_clash,
    refuse_moved_head,
    refuse_touched,
)
from memrepo_worker.service.writes.revisions import create_branch, delete_branch, refuse_new_ref, restore
from memrepo_worker.service.writes.settled import Settled
from memrepo_worker.service.writes.tags import create_tag, delete_tag
from memrepo_worker.service.writes.text_edits import apply_changes
from memrepo_worker.service.writes.working_tree import WorkingTree

_FIRST_MESSAGE = "Initial commit"
_FIRST_FILES = (FileChange(path=".memrepo/config.json", content=b'{"version": 1}'),)


def settle(request: Request, draft: Draft, agent: Agent) -> LedgerLine:
    """Apply one request to the draft and return its ledger line; the draft is unchanged where it fails.

    The caller has checked that neither the group nor the ledger settled it before.

    Raises:
        NotSettledError: it is told something, and has no line.
        UnavailableError, RefusedError: another memory that it needs cannot be read now.
    """
    detail = BRANCH_BEGUN if _begins_branch(request, draft) else {}
    try:
        verdict, sha, more = WRITES[type(request)](request, draft, agent)
    except MemoryRepoError as error:
        is_written = draft.begun or draft.is_needed or reads_elsewhere(request)
        told = _for_good(error) if is_written else error
        return LedgerLine.of_error(request.request_id, request.digest, request.enqueued_at, told)
    return LedgerLine(
        request.request_id, request.digest, verdict, request.enqueued_at, sha, {**detail, **more}
    )


def reads_elsewhere(request: Request) -> bool:
    """Whether what becomes of a request depends on more than the memory that it is about.

    Then a refusal is written even where there is no memory: an earlier attempt may have found something else, and the
    entry that it made of that may still be on its way.
    """
    return isinstance(request, ForkRequest)


def _for_good(error: MemoryRepoError) -> MemoryRepoError:
    """Say of a memory that is not there that making one does not change what this request id is answered with.

    The id itself is not told: mostly nobody chose it, and a call that is made again has another.
    """
    if not isinstance(error, RepoNotFoundError):
        return error
    return type(error)(
        f"{error.message}. Then call again; if you gave a request id, give a new one, as that has its answer",
        error.details,
    )


def _begins_branch(request: Request, draft: Draft) -> bool:
    """Whether a commit will begin a branch beside ``main``, as a misspelt name does."""
    if not isinstance(request, CommitRequest):
        return False
    name = branch_ref(request.branch)
    return name != HEAD_BRANCH and name not in draft.refs


def _create_repo(request: CreateRepoRequest, draft: Draft, agent: Agent) -> Settled:
    refuse_legacy(draft.view, agent)
    if draft.view.exists:
        raise RepoExistsError(
            f"{agent} has a memory already: use commit", {"org_id": agent.org_id, "agent_id": agent.agent_id}
        )
    files = request.initial_files or _FIRST_FILES
    sha = commit_edits(draft, request, _edits(files), None, _FIRST_MESSAGE)
    draft.refs[HEAD_BRANCH] = sha
    return Settled(COMMITTED, sha)


def _commit(request: CommitRequest, draft: Draft, agent: Agent) -> Settled:
    name = branch_ref(request.branch)
    parent = _parent(request, draft, agent)
    refuse_moved_head(request, draft, parent)
    refuse_new_ref(name, draft.refs or (HEAD_BRANCH,), "branch")
    expected = request.expected_head
    if expected is None or expected == parent or parent is None:
        return _commit_on(request, draft, parent, _checked_edits(request, draft, parent))
    if request.on_conflict == "merge":
        edits = merged_edits(_checked_edits(request, draft, expected), draft, expected, parent)
    else:
        refuse_touched(request, draft, expected, parent)
        edits = _checked_edits(request, draft, parent)
        refuse_clash(edits, draft, expected, parent)
    return _commit_on(request, draft, parent, edits)._replace(detail={REBASED_FROM: expected})


def _checked_edits(request: CommitRequest, draft: Draft, parent: str | None) -> list[FileEdit]:
    """Return what a commit's changes come to on a parent, if its files are as the caller expects."""
    _check_expected_contents(request.changes, draft, parent)
    return _edits_of(request, draft, parent)


def _commit_on(request: CommitRequest, draft: Draft, parent: str | None, edits: list[FileEdit]) -> Settled:
    name = branch_ref(request.branch)
    sha = commit_edits(draft, request, edits, parent, request.message)
    draft.refs[name] = sha
    draft.refs.setdefault(HEAD_BRANCH, sha)
    return Settled(UNCHANGED if sha == parent else COMMITTED, sha)


def _parent(request: CommitRequest, draft: Draft, agent: Agent) -> str | None:
    """Return the commit to build on; None begins a repository."""
    view = draft.view
    refuse_legacy(view, agent)
    if not view.exists and request.create_repo_if_missing:
        return None
    require_repo(view, agent)
    return view.refs.get(branch_ref(request.branch)) or resolve(request.start_point, view, draft.reader)


def _edits_of(request: CommitRequest, draft: Draft, parent: str | None) -> list[FileEdit]:
    """Return what a commit's changes come to on its parent. Where there are edits among them, their order counts."""
    files = [change for change in request.changes if isinstance(change, FileChange)]
    if len(files) == len(request.changes):
        return _edits(files)
    tree = draft.reader.commit(parent).tree if parent else None
    return apply_changes(
        request.changes, WorkingTree(draft.reader, tree, draft.edited_bytes_max), draft.limits
    )


def _check_expected_contents(changes: Iterable[FileChange | Edit], draft: Draft, parent: str | None) -> None:
    tree = draft.reader.commit(parent).tree if parent else None
    for change in changes:
        if change.expected_sha256 is None:
            continue
        entry = lookup(draft.reader, tree, change.path) if tree else None
        present = hashlib.sha256(draft.reader.blob(entry.sha)).hexdigest() if entry else ""
        if present != change.expected_sha256:
            raise ContentMovedError(
                f"{change.path!r} is not what was expected: read it again",
                {"path": change.path, "sha256": present, "head": parent},
            )


def _edits(changes: Iterable[FileChange]) -> list[FileEdit]:
    return [
        FileEdit(change.path, None if change.deletes else change.content, change.executable)
        for change in changes
    ]


def _delete_repo(request: DeleteRepoRequest, draft: Draft, agent: Agent) -> Settled:
    require_repo(draft.view, agent)
    head = draft.refs.get(HEAD_BRANCH, NULL_SHA)
    draft.end()
    return Settled(DELETED, head)


def _row(
    operation: Operation[Asked, Any], handle: Callable[[Asked, Draft, Agent], Settled]
) -> tuple[type[Request], Callable[[Any, Draft, Agent], Settled]]:
    """Pair a request with what applies it. Type checkers see that they belong together."""
    return operation.request, handle


WRITES: Mapping[type[Request], Callable[[Any, Draft, Agent], Settled]] = dict(
    [
        _row(operations.CREATE_REPO, _create_repo),
        _row(operations.COMMIT, _commit),
        _row(operations.RESTORE, restore),
        _row(operations.MERGE, merge),
        _row(operations.FORK, fork),
        _row(operations.CREATE_BRANCH, create_branch),
        _row(operations.DELETE_BRANCH, delete_branch),
        _row(operations.CREATE_TAG, create_tag),
        _row(operations.DELETE_TAG, delete_tag),
        _row(operations.DELETE_REPO, _delete_repo),
    ]
)
"""What each write does to a draft; it says what the ledger will."""
