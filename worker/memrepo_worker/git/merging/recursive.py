"""What two commits come from: their merge base, or where there are several what git's "recursive" makes of them.

Several there are after criss-cross merges. Then they are merged themselves, what conflicts included, and that is the
base; it is never published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memrepo_worker.bounds import MergeBounds
from memrepo_worker.git.edits import FileEdit
from memrepo_worker.git.merging.bases import merge_bases
from memrepo_worker.git.merging.contents import ContentMerger, MergeBudget, with_markers
from memrepo_worker.git.merging.trees import (
    Conflict,
    Merged,
    apply_fitting,
    content_of_file,
    merge_trees,
    mode_of,
)
from memrepo_worker.git.objects import MODE_EXECUTABLE, GitObject
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.git.walk import entry_at


class MergeBase:
    """The tree that is the base of a merge, from all that ``merge_bases`` found.

    What was made for it is in ``reader``, which shows all else, too.

    Raises:
        TooLargeError: it takes more than the request's ``budget``.
    """

    def __init__(self, reader: Reader, bases: Sequence[str], budget: MergeBudget) -> None:
        self._merger = ContentMerger(budget=budget)
        self._objects: dict[str, GitObject] = {}
        self.reader = reader.layered(ObjectMap(self._objects))
        self.tree = self._tree_of(bases, 0)

    def _tree_of(self, bases: Sequence[str], depth: int) -> str | None:
        """Return the tree that these commits stand for, newest first; None where there is none."""
        if not bases:
            return None
        *others, first = bases
        tree = self.reader.commit(first).tree
        if depth >= MergeBounds.bases_depth_max:
            return tree
        merged = [first]
        for other in reversed(others):
            base = self._tree_of(merge_bases(self.reader, merged, (other,)), depth + 1)
            outcome = merge_trees(self.reader, base, tree, self.reader.commit(other).tree, self._merger)
            tree = self._with_conflicts(tree, outcome)
            merged.append(other)
        return tree

    def _with_conflicts(self, ours: str, merged: Merged) -> str:
        """Return the tree of a merge in which something stands for each conflict, as in git."""
        edits = dict(merged.edits)
        for conflict in merged.conflicts:
            edit = self._stand_in(conflict)
            if edit is not None and edit.writes and self._is_folder(conflict.path, ours, edits):
                edit = FileEdit(conflict.path, None)
            if edit is not None:
                edits[conflict.path] = edit
        applied = apply_fitting(self.reader, ours, edits)
        self._objects |= applied.objects
        return applied.tree

    def _is_folder(self, path: str, ours: str, edits: Iterable[str]) -> bool:
        """Whether either side has a folder at a path: then no file stands there."""
        there = entry_at(self.reader, ours, path)
        return (there is not None and there.is_tree) or any(one.startswith(f"{path}/") for one in edits)

    def _stand_in(self, conflict: Conflict) -> FileEdit | None:
        """Return what is at a conflict: text with markers, where there is no such thing what was there before."""
        base, ours, theirs = conflict.base, conflict.ours, conflict.theirs
        if conflict.kind == "file_folder":
            return None if ours is None else FileEdit(conflict.path, None)
        if conflict.kind == "mode":
            return None
        if conflict.kind in ("content", "binary") and ours is not None and theirs is not None:
            contents = [content_of_file(self.reader, entry) for entry in (base, ours, theirs)]
            marked = with_markers(*contents) if conflict.kind == "content" else None
            executable = mode_of(base, ours, theirs) == MODE_EXECUTABLE
            # What has no lines stands there as it was before, empty if it was not: git takes that, too.
            return FileEdit(conflict.path, contents[0] if marked is None else marked, executable)
        return FileEdit(conflict.path, None, entry=base)
