"""Merging two trees that come from a third: what of theirs goes into ours, and what cannot without a decision.

Renames are not looked for: what was moved is a file deleted and one added, on every machine and with every version of
git. The judge is ``git merge -s recursive -X no-renames``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from memrepo.errors import TooLargeError
from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.merging.contents import ContentMerger, Refused
from memrepo_worker.git.objects import GitObject, TreeEntry
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import differences, entry_at, levels

ConflictKind = Literal["content", "binary", "too_large", "deleted", "mode", "type", "file_folder", "name"]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A path at which no side can be taken; None stands for "no file there"."""

    path: str
    kind: ConflictKind
    base: TreeEntry | None
    ours: TreeEntry | None
    theirs: TreeEntry | None


@dataclass(frozen=True, slots=True)
class Merged:
    """What makes ours the merged tree, and what is left to decide, in order of the paths."""

    edits: dict[str, FileEdit]
    conflicts: list[Conflict]


def merge_trees(reader: Reader, base: str | None, ours: str, theirs: str, merger: ContentMerger) -> Merged:
    """Merge two trees; ``base`` is what both come from, None where that is nothing.

    Folders in which nothing differs are not read. A path that conflicts is in no edit.

    Raises:
        TooLargeError: that would take more than one request may.
    """
    by_ours = {delta.path: delta for delta in differences(reader, base, ours)}
    edits: dict[str, FileEdit] = {}
    conflicts: dict[str, Conflict] = {}
    for delta in list(differences(reader, base, theirs)):
        mine = by_ours.get(delta.path)
        if mine is None:
            edits[delta.path] = _edit(delta.path, delta.new)
        elif mine.new != delta.new:
            reader.walked(0)
            outcome = _both(delta.path, delta.old, mine.new, delta.new, reader, merger)
            if isinstance(outcome, Conflict):
                conflicts[delta.path] = outcome
            elif outcome is not None:
                edits[delta.path] = outcome
    for conflict in list(_beside_folders(reader, ours, edits, conflicts)):
        conflicts[conflict.path] = conflict
        edits.pop(conflict.path, None)
    _leave_out_twins(reader, ours, edits, conflicts)
    return Merged(edits, [conflicts[path] for path in sorted(conflicts)])


def _edit(path: str, entry: TreeEntry | None) -> FileEdit:
    return FileEdit(path, None, entry=entry)


def _both(
    path: str,
    base: TreeEntry | None,
    ours: TreeEntry | None,
    theirs: TreeEntry | None,
    reader: Reader,
    merger: ContentMerger,
) -> FileEdit | Conflict | None:
    """Merge one path that both sides changed, and not alike; None keeps ours."""

    def conflict(kind: ConflictKind) -> Conflict:
        return Conflict(path, kind, base, ours, theirs)

    if ours is None or theirs is None:
        return conflict("deleted")
    if not ours.is_file or not theirs.is_file:
        return conflict("type")
    mode = mode_of(base, ours, theirs)
    if mode != theirs.mode and base is None and ours.sha == theirs.sha:
        return conflict("mode")
    if ours.sha == theirs.sha or (base is not None and theirs.sha == base.sha):
        return _edit(path, TreeEntry(mode, ours.sha))
    if base is not None and ours.sha == base.sha:
        return _edit(path, TreeEntry(mode, theirs.sha))
    merged = merger.merge(*(content_of_file(reader, entry) for entry in (base, ours, theirs)))
    if isinstance(merged, Refused):
        return conflict(merged.value)
    return FileEdit(path, merged, TreeEntry(mode, ours.sha).executable)


def content_of_file(reader: Reader, entry: TreeEntry | None) -> bytes:
    """Return the content whose lines are merged: of what is no file, as a link or a folder, there is none."""
    return reader.blob(entry.sha) if entry is not None and entry.is_file else b""


def mode_of(base: TreeEntry | None, ours: TreeEntry, theirs: TreeEntry) -> str:
    """Return the mode that only one side changed; where both added the file, with other contents, it is ours."""
    before = base.mode if base is not None and base.is_file else ""
    return theirs.mode if ours.mode == before else ours.mode


def _beside_folders(
    reader: Reader, ours: str, edits: dict[str, FileEdit], conflicts: dict[str, Conflict]
) -> Iterator[Conflict]:
    """Yield the files that would be where a folder is, from the one side or from the other."""
    deleted = {path for path, edit in edits.items() if not edit.writes}
    above: set[str] = set()
    written = {path: edit.entry for path, edit in edits.items() if edit.writes}
    undecided = {path: conflict.theirs for path, conflict in conflicts.items() if conflict.theirs is not None}
    for path, entry in [*written.items(), *undecided.items()]:
        if path in written:
            there = entry_at(reader, ours, path)
            if there is not None and there.is_tree and _is_left(reader, there, path, deleted):
                yield Conflict(path, "file_folder", None, None, entry)
        folder = path.rpartition("/")[0]
        while folder and folder not in above:
            above.add(folder)
            file = entry_at(reader, ours, folder)
            if file is not None and not file.is_tree and folder not in deleted and folder not in conflicts:
                yield Conflict(folder, "file_folder", None, file, None)
            folder = folder.rpartition("/")[0]


def _is_left(reader: Reader, folder: TreeEntry, path: str, deleted: set[str]) -> bool:
    """Whether anything is in a folder of ours after theirs has deleted what it deletes."""
    inside = differences(reader, None, folder.sha, f"{path}/")
    return any(delta.path not in deleted for delta in inside)


def _leave_out_twins(
    reader: Reader, ours: str, edits: dict[str, FileEdit], conflicts: dict[str, Conflict]
) -> None:
    """Make conflicts of names of theirs that some file systems take for a neighbour's of ours."""
    fitting = {path: edit for path, edit in edits.items() if conflicts.keys().isdisjoint(levels(path))}
    for path in apply_fitting(reader, ours, fitting).left_out:
        conflicts[path] = Conflict(path, "name", None, None, edits.pop(path).entry)


@dataclass(frozen=True, slots=True)
class Applied:
    """A tree with those of the edits that go into it, what is new of it, and the paths of the others."""

    tree: str
    objects: dict[str, GitObject]
    left_out: list[str]


def apply_fitting(reader: Reader, ours: str, edits: Mapping[str, FileEdit]) -> Applied:
    """Apply the edits that fit. However many do not, it is tried few times: names are looked for all at once.

    Raises:
        TooLargeError: what does not fit is none of them by itself, but how many they are.
    """
    fitting = dict(edits)
    left_out: list[str] = []
    while True:
        editor = TreeEditor(reader, passes_over_twins=True)
        try:
            tree, clashes = editor.apply(ours, fitting.values()), editor.twins
        except TreeConflictError as clash:
            clashes = [clash]
        if not clashes:
            return Applied(tree, editor.objects, left_out)
        places = {clash.path for clash in clashes}
        below = [path for path in fitting if not places.isdisjoint(levels(path))]
        if not below:
            raise TooLargeError.of("source", str(clashes[0]), path=clashes[0].path) from clashes[0]
        for path in below:
            del fitting[path]
        left_out += below
