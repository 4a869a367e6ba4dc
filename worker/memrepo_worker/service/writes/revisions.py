"""What restores and changes of branches do to a draft."""

from __future__ import annotations

from collections.abc import Collection

from memrepo.errors import InvalidRequestError, PathNotFoundError
from memrepo.validation.values import fault_of_path
from memrepo.wire.requests.writes import CreateBranchRequest, DeleteBranchRequest, RestoreRequest
from memrepo_worker.git.edits import FileEdit
from memrepo_worker.git.objects import printable
from memrepo_worker.git.walk import FileDelta, differences, entry_at, levels
from memrepo_worker.group import Agent
from memrepo_worker.journal.ledger import COMMITTED, DONE, UNCHANGED
from memrepo_worker.journal.refs import REFS_MAX, RefNames
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.refs import (
    branch_ref,
    expected_branch_head,
    require_repo,
    resolve,
)
from memrepo_worker.service.writes.edits import commit_edits
from memrepo_worker.service.writes.settled import Settled

_PATHS_SHOWN_MAX = 20


def is_at_or_below(path: str, wanted: str) -> bool:
    """Whether a path is the wanted one, or inside the folder of that name."""
    return path == wanted or path.startswith(f"{wanted}/")


def restore(request: RestoreRequest, draft: Draft, agent: Agent) -> Settled:
    """Commit the content of an old commit again.

    What was a link or a submodule there, as an adopted history may hold, is left as it is now, with all below it; the
    commit's message says so.

    Raises:
        HeadMovedError: the branch is not where the caller expects it.
        InvalidRequestError: it would write a name that commits are refused, as an adopted history or one from under
            another setting may hold; ``paths`` restores the others. What stays as it is, is not asked about. Or all
            that it would change was a link or a submodule.
    """
    require_repo(draft.view, agent)
    head = expected_branch_head(request.branch, draft.refs, request.expected_head)
    source = resolve(request.ref, draft.view, draft.reader)
    trees = [draft.reader.commit(sha).tree for sha in (head, source)]
    deltas = list(differences(draft.reader, *trees))
    if request.paths is not None:
        deltas = _only(request.paths, deltas, draft, trees)
    left = {delta.path for delta in deltas if delta.new is not None and not delta.new.is_file}
    edits = [_edit(delta, draft) for delta in deltas if left.isdisjoint(levels(delta.path))]
    if left and not edits:
        raise InvalidRequestError.of("ref", f"has nothing to restore{_left_as_it_is(left)}")
    message = f"{request.message or f'Restore {request.ref}'}{_left_as_it_is(left)}"
    sha = commit_edits(draft, request, edits, head, message, source)
    draft.refs[branch_ref(request.branch)] = sha
    return Settled(UNCHANGED if sha == head else COMMITTED, sha)


def _only(paths: tuple[str, ...], deltas: list[FileDelta], draft: Draft, trees: list[str]) -> list[FileDelta]:
    """Return the differences at and below these paths; each must be something on one of the two sides."""
    for path in paths:
        if all(entry_at(draft.reader, tree, path) is None for tree in trees):
            raise PathNotFoundError(f"{path!r} is neither here nor at the ref", {"path": path})
    return [delta for delta in deltas if any(is_at_or_below(delta.path, path) for path in paths)]


def _left_as_it_is(paths: Collection[str]) -> str:
    """Return what a message says of paths that were a link or a submodule; of many, of the first alone."""
    if not paths:
        return ""
    shown = "".join(f"\n- {printable(path)!r}" for path in sorted(paths)[:_PATHS_SHOWN_MAX])
    more = f"\nand {len(paths) - _PATHS_SHOWN_MAX} more" if len(paths) > _PATHS_SHOWN_MAX else ""
    return f"\n\nLeft as it is, as links and submodules are not kept:{shown}{more}"


def _edit(delta: FileDelta, draft: Draft) -> FileEdit:
    new = delta.new
    if new is None:
        return FileEdit(delta.path, None)
    fault = fault_of_path(delta.path, draft.limits)
    if fault is not None:
        path = printable(delta.path)
        raise InvalidRequestError.of("ref", f"would write {path!r}, which {fault}", path=path)
    return FileEdit(delta.path, draft.reader.blob(new.sha), new.executable)


def create_branch(request: CreateBranchRequest, draft: Draft, agent: Agent) -> Settled:
    """Begin a branch at a commit."""
    require_repo(draft.view, agent)
    name = branch_ref(request.name)
    sha = resolve(request.start_point, draft.view, draft.reader)
    if draft.refs.get(name, sha) != sha:
        raise InvalidRequestError.of("name", "there is a branch of that name already, at another commit")
    refuse_new_ref(name, draft.refs, "name")
    draft.refs[name] = sha
    return Settled(DONE, sha)


def delete_branch(request: DeleteBranchRequest, draft: Draft, agent: Agent) -> Settled:
    """Remove a branch.

    Raises:
        RefNotFoundError: there is none of that name.
        HeadMovedError: it is not where the caller expects it.
    """
    require_repo(draft.view, agent)
    sha = expected_branch_head(request.name, draft.refs, request.expected_head)
    del draft.refs[branch_ref(request.name)]
    return Settled(DONE, sha)


def refuse_new_ref(name: str, refs: Collection[str], field: str) -> None:
    """Refuse a new ref that stock git could not hold beside the others, on some file system or in an entry's header."""
    if name in refs:
        return
    if len(refs) >= REFS_MAX:
        raise InvalidRequestError.of(
            field, f"there are {REFS_MAX} branches and tags already, the most there may be"
        )
    clash = RefNames(refs).clash(name)
    if clash is not None:
        raise InvalidRequestError.of(field, clash)
