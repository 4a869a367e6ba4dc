"""What a merge would do, told without doing it."""

from __future__ import annotations

from memrepo.limits import Limits
from memrepo.models import MemoryFile, MergeConflict, MergeKind, MergePreview
from memrepo.wire.requests.merges import PreviewMergeRequest
from memrepo_worker.git.merging.trees import Conflict
from memrepo_worker.git.objects import TreeEntry, printable
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import differences
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.answer_size import AnswerSize
from memrepo_worker.service.merging import Sides, bases_of, hunks_of, merge_sides
from memrepo_worker.service.refs import branch_head, resolve


def preview_merge(request: PreviewMergeRequest, view: View, repo: WarmRepo, limits: Limits) -> MergePreview:
    """Return what a merge of the two would come to."""
    reader = repo.reader
    sides = Sides(branch_head(request.target, view.refs), resolve(request.source, view, reader))
    bases = bases_of(reader, sides)
    kind: MergeKind = "merge"
    changed: list[str] = []
    conflicts: list[MergeConflict] = []
    if sides.theirs in bases:
        kind = "up_to_date"
    elif sides.ours in bases:
        kind = "fast_forward"
        trees = (reader.commit(sha).tree for sha in (sides.ours, sides.theirs))
        changed = [delta.path for delta in differences(reader, *trees)]
    else:
        merged, merged_reader = merge_sides(reader, sides, bases)
        changed = sorted(merged.edits)
        conflicts = _told(merged.conflicts, merged_reader, limits)
    return MergePreview(
        source_sha=sides.theirs,
        target_sha=sides.ours,
        base_sha=bases[0] if bases else None,
        kind=kind,
        files_changed=[printable(path) for path in changed],
        conflicts=conflicts,
    )


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
