"""What a merge would do, told without doing it."""

from __future__ import annotations

from memrepo.limits import Limits
from memrepo.models import FileChange, MemoryFile, MergeConflict, MergeKind, MergePreview
from memrepo.wire.requests.merges import PreviewMergeRequest
from memrepo_worker.git.merging.trees import Conflict, Merged
from memrepo_worker.git.objects import GitObject, Kind, TreeEntry, object_id, printable
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.git.walk import differences, entry_at
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.answer_size import AnswerSize
from memrepo_worker.service.merging import Sides, bases_of, hunks_of, merge_sides
from memrepo_worker.service.refs import branch_head, resolve
from memrepo_worker.service.writes.merge import FAVORS, apply_merge, refuse_unused, undecided


def preview_merge(request: PreviewMergeRequest, view: View, repo: WarmRepo, limits: Limits) -> MergePreview:
    """Return what a merge of the two would come to.

    Raises:
        InvalidRequestError: a resolution is of no conflict, or does not fit.
    """
    reader = repo.reader
    sides = Sides(branch_head(request.target, view.refs), resolve(request.source, view, reader))
    bases = bases_of(reader, sides)
    kind: MergeKind = "merge"
    changed: list[str] = []
    conflicts: list[MergeConflict] = []
    if sides.theirs in bases:
        refuse_unused(request.resolutions, ())
        kind = "up_to_date"
    elif sides.ours in bases and not request.squash:
        refuse_unused(request.resolutions, ())
        kind = "fast_forward"
        trees = (reader.commit(sha).tree for sha in (sides.ours, sides.theirs))
        changed = [delta.path for delta in differences(reader, *trees)]
    else:
        merged, merged_reader = merge_sides(reader, sides, bases, FAVORS[request.favor])
        open_ones = undecided(merged.conflicts, request.resolutions)
        conflicts = _told(open_ones, merged_reader, limits)
        changed = _changed(request, merged, reader, sides, limits, is_decided=not open_ones)
        if request.squash:
            kind = "squash" if changed or open_ones else "up_to_date"
    return MergePreview(
        source_sha=sides.theirs,
        target_sha=sides.ours,
        base_sha=bases[0] if bases else None,
        kind=kind,
        files_changed=[printable(path) for path in changed],
        conflicts=conflicts,
    )


def _changed(
    request: PreviewMergeRequest,
    merged: Merged,
    reader: Reader,
    sides: Sides,
    limits: Limits,
    *,
    is_decided: bool,
) -> list[str]:
    """Return the paths that a merge changes in ours; while conflicts are open, those that are no part of one."""
    if not request.resolutions:
        return sorted(merged.edits)
    ours = reader.commit(sides.ours).tree
    if not is_decided:
        decided = {change.path for change in request.resolutions if _differs(change, reader, ours)}
        return sorted({*merged.edits, *decided})
    tree, editor = apply_merge(merged, request.resolutions, reader, ours, limits)
    made = reader.layered(ObjectMap(editor.objects))
    return sorted(delta.path for delta in differences(made, ours, tree))


def _differs(change: FileChange, reader: Reader, tree: str) -> bool:
    there = entry_at(reader, tree, change.path)
    if change.deletes or there is None:
        return not change.deletes or there is not None
    return there.sha != object_id(GitObject(Kind.BLOB, change.content or b""))


def _told(conflicts: list[Conflict], reader: Reader, limits: Limits) -> list[MergeConflict]:
    size, told = AnswerSize(limits, "source", "the conflicting files are"), []
    for conflict in conflicts:
        reader.walked(0)
        entries = (conflict.base, conflict.ours, conflict.theirs)
        size.add(sum(reader.size(entry.sha) for entry in entries if entry is not None and entry.is_file))
        base, ours, theirs = (_file(conflict.path, entry, reader) for entry in entries)
        told.append(
            MergeConflict(
                path=printable(conflict.path),
                kind=conflict.kind,
                base=base,
                ours=ours,
                theirs=theirs,
                hunks=hunks_of(conflict, reader),
            )
        )
    return told


def _file(path: str, entry: TreeEntry | None, reader: Reader) -> MemoryFile | None:
    """Return one side; of a link or a submodule nothing but its id."""
    if entry is None:
        return None
    data = reader.blob(entry.sha) if entry.is_file else b""
    return MemoryFile(
        path=printable(path), data=data, sha=entry.sha, size=len(data), executable=entry.executable
    )
