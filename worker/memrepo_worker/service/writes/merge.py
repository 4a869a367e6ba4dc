"""What a merge does to a draft."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from memrepo.errors import HeadMovedError, InvalidRequestError
from memrepo.limits import Limits
from memrepo.models import FileChange
from memrepo.validation.values import fault_of_path
from memrepo.wire.requests.merges import MergeRequest
from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.merging.contents import Favor
from memrepo_worker.git.merging.trees import Conflict, Merged
from memrepo_worker.git.objects import printable
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import differences, entry_at, levels
from memrepo_worker.group import Agent
from memrepo_worker.journal.ledger import COMMITTED, DONE, UNCHANGED
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.commits import compose
from memrepo_worker.service.merging import Sides, bases_of, merge_sides, refuse_conflicts
from memrepo_worker.service.refs import branch_ref, expected_branch_head, require_repo, resolve
from memrepo_worker.service.writes.settled import Settled
from memrepo_worker.service.writes.text_edits import refuse_too_large

FAVORS: Mapping[str | None, Favor] = {
    None: Favor.NOBODY,
    "ours": Favor.OURS,
    "theirs": Favor.THEIRS,
    "union": Favor.UNION,
}
MERGED_INTO = "merged_into"
"""In a ledger line's detail: where the target was before."""


def merge(request: MergeRequest, draft: Draft, agent: Agent) -> Settled:
    """Bring a ref's changes into a branch.

    Raises:
        HeadMovedError: the target is not where the caller expects it, or cannot be moved without a commit.
        MergeConflictError: both sides changed the same, and no resolution says what is to be there.
        InvalidRequestError: a resolution is of no conflict, or does not fit; or it would write what commits may not.
    """
    require_repo(draft.view, agent)
    head = expected_branch_head(request.target, draft.refs, request.expected_head)
    sides = Sides(head, resolve(request.source, draft.view, draft.reader))
    bases = bases_of(draft.reader, sides)
    if sides.theirs in bases:
        refuse_unused(request.resolutions, ())
        return Settled(UNCHANGED, head)
    if sides.ours in bases and not request.squash and request.fast_forward != "never":
        refuse_unused(request.resolutions, ())
        draft.refs[branch_ref(request.target)] = sides.theirs
        return Settled(DONE, sides.theirs, {MERGED_INTO: head})
    if request.fast_forward == "only":
        raise HeadMovedError(
            f"branch {request.target!r} has commits that {request.source!r} has not, so it cannot be fast-forwarded",
            {"branch": request.target, "head": head, "source_sha": sides.theirs},
        )
    sha = _commit(request, draft, sides, bases)
    draft.refs[branch_ref(request.target)] = sha
    return Settled(UNCHANGED if sha == head else COMMITTED, sha)


def _commit(request: MergeRequest, draft: Draft, sides: Sides, bases: Sequence[str]) -> str:
    """Add the merge to the draft and return its commit; the head's where a squash changes nothing."""
    merged, reader = merge_sides(draft.reader, sides, bases, FAVORS[request.favor])
    open_ones = undecided(merged.conflicts, request.resolutions)
    refuse_conflicts(
        open_ones,
        reader,
        sides,
        _advice(request, open_ones),
        branch=request.target,
        base_sha=bases[0] if bases else None,
    )
    ours = draft.reader.commit(sides.ours).tree
    tree, editor = apply_merge(merged, request.resolutions, draft.reader, ours, draft.limits)
    if request.squash and tree == ours:
        return sides.ours
    commit = compose(
        draft.reader,
        tree,
        (sides.ours,) if request.squash else (sides.ours, sides.theirs),
        request.message or _message(request),
        request.author,
        request.request_id,
        request.enqueued_at,
    )
    return draft.commit(commit, editor.objects, refers_to=sides.theirs, bases=editor.bases)


def undecided(conflicts: Sequence[Conflict], resolutions: Sequence[FileChange]) -> list[Conflict]:
    """Return the conflicts that no resolution decides: a file that is written does so for the folders above it, too.

    Raises:
        InvalidRequestError: a resolution is of none of them.
    """
    refuse_unused(resolutions, conflicts)
    decided = {
        path for change in resolutions for path in ((change.path,) if change.deletes else levels(change.path))
    }
    return [conflict for conflict in conflicts if conflict.path not in decided]


def apply_merge(
    merged: Merged, resolutions: Sequence[FileChange], reader: Reader, ours: str, limits: Limits
) -> tuple[str, TreeEditor]:
    """Return the tree that a merge comes to whose conflicts are all decided, and what has its new objects.

    Raises:
        InvalidRequestError: a resolution does not fit, or it would write what commits may not.
    """
    edits = with_resolutions(merged, resolutions, reader, ours)
    refuse_names_and_sizes(edits, limits)
    editor = TreeEditor(reader)
    try:
        return editor.apply(ours, edits), editor
    except TreeConflictError as conflict:
        raise InvalidRequestError.of("resolutions", str(conflict), path=conflict.path) from conflict


def _advice(request: MergeRequest, conflicts: Iterable[Conflict]) -> str:
    """Say what decides these conflicts: a favor decides contents alone, and one that was given did all that it can."""
    by_favor = request.favor is None and any(one.kind in ("content", "binary") for one in conflicts)
    return f"Decide by resolutions{' or favor' if by_favor else ''}, then merge again"


def _message(request: MergeRequest) -> str:
    into = "" if request.target == "main" else f" into {request.target}"
    return f"{'Squash' if request.squash else 'Merge'} {request.source}{into}"


def refuse_unused(resolutions: Iterable[FileChange], conflicts: Iterable[Conflict]) -> None:
    """Raise ``InvalidRequestError`` where a resolution is of no conflict."""
    paths = {conflict.path for conflict in conflicts}
    for index, change in enumerate(resolutions):
        if paths.isdisjoint(levels(change.path)):
            raise InvalidRequestError.of(
                f"resolutions[{index}].path", f"{change.path!r} does not conflict", path=change.path
            )


def with_resolutions(
    merged: Merged, resolutions: Iterable[FileChange], reader: Reader, ours: str
) -> list[FileEdit]:
    """Return what a merge changes in ours once its conflicts are decided.

    A file that is written takes the place of a folder, whichever side has that.
    """
    edits = dict(merged.edits)
    for change in resolutions:
        if change.deletes:
            edits[change.path] = FileEdit(change.path, None)
            continue
        for path in [path for path in edits if path.startswith(f"{change.path}/")]:
            del edits[path]
        there = entry_at(reader, ours, change.path)
        if there is not None and there.is_tree:
            for delta in differences(reader, None, there.sha, f"{change.path}/"):
                edits[delta.path] = FileEdit(delta.path, None)
        executable = change.executable
        if executable is None:
            executable = any(
                entry is not None and entry.executable
                for conflict in merged.conflicts
                if conflict.path == change.path
                for entry in (conflict.ours, conflict.theirs)
            )
        edits[change.path] = FileEdit(change.path, change.content, executable)
    return list(edits.values())


def refuse_names_and_sizes(edits: Iterable[FileEdit], limits: Limits) -> None:
    """Refuse what no commit may write, as a history from elsewhere or another setting may hold."""
    for edit in edits:
        if not edit.writes:
            continue
        fault = fault_of_path(edit.path, limits)
        if fault is not None:
            path = printable(edit.path)
            raise InvalidRequestError.of("source", f"would write {path!r}, which {fault}", path=path)
        if edit.data is not None:
            refuse_too_large(edit.path, len(edit.data), limits, "source")
