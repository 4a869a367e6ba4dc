"""What merging two commits comes to: nothing, a branch that is moved, or trees to be merged; what conflicts tell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memrepo.errors import MergeConflictError
from memrepo.models import Lines, MergeHunk
from memrepo_worker.bounds import MergeBounds
from memrepo_worker.git.compare import differ_in_few_lines
from memrepo_worker.git.merging.bases import merge_bases
from memrepo_worker.git.merging.contents import ContentMerger, Favor, MergeBudget, conflicting_hunks
from memrepo_worker.git.merging.recursive import MergeBase
from memrepo_worker.git.merging.trees import Conflict, Merged, content_of_file, merge_trees
from memrepo_worker.git.objects import printable
from memrepo_worker.git.reader import Reader

_PATHS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Sides:
    """The commits of a merge: the target's, and what goes into it."""

    ours: str
    theirs: str


def bases_of(reader: Reader, sides: Sides) -> list[str]:
    """Return the best commits that both sides come from, newest first: one of the sides itself where it has the other.

    It is the walk of a history that a merge costs, so whoever needs it again hands it on.
    """
    return merge_bases(reader, (sides.ours,), (sides.theirs,))


def merge_sides(
    reader: Reader, sides: Sides, bases: Sequence[str], favor: Favor = Favor.NOBODY
) -> tuple[Merged, Reader]:
    """Merge the trees of two commits that come from these, and return what reads all that conflicts.

    Raises:
        TooLargeError: that takes more than a request may.
    """
    budget = MergeBudget()
    base = MergeBase(reader, bases, budget)
    ours, theirs = (reader.commit(sha).tree for sha in (sides.ours, sides.theirs))
    return merge_trees(base.reader, base.tree, ours, theirs, ContentMerger(favor, budget)), base.reader


def refuse_conflicts(
    conflicts: list[Conflict], reader: Reader, sides: Sides, advice: str, /, **details: str | None
) -> None:
    """Raise ``MergeConflictError`` if there are any; it tells their shas and lines, and no content."""
    if not conflicts:
        return
    shown = ", ".join(
        f"{printable(conflict.path)!r} ({conflict.kind})" for conflict in conflicts[:_PATHS_SHOWN_MAX]
    )
    more = f" and {len(conflicts) - _PATHS_SHOWN_MAX} more" if len(conflicts) > _PATHS_SHOWN_MAX else ""
    raise MergeConflictError(
        f"both sides changed {shown}{more}: nothing was changed. {advice}",
        {
            "conflicts": _told(conflicts, reader),
            "conflict_count": len(conflicts),
            "target_sha": sides.ours,
            "source_sha": sides.theirs,
            **details,
        },
    )


def _told(conflicts: Sequence[Conflict], reader: Reader) -> list[dict[str, Any]]:
    """Return what is told of the first conflicts: the paths and shas of all of these, then as many hunks as fit."""
    told: list[dict[str, Any]] = []
    bytes_left = MergeBounds.told_bytes_max
    for conflict in conflicts[: MergeBounds.conflicts_told_max]:
        sides = {"base": conflict.base, "ours": conflict.ours, "theirs": conflict.theirs}
        one: dict[str, Any] = {"path": printable(conflict.path), "kind": conflict.kind}
        one |= {name: None if entry is None else entry.sha for name, entry in sides.items()}
        bytes_left -= len(json.dumps(one))
        if told and bytes_left < 0:
            break
        told.append(one)
    for one, conflict in zip(told, conflicts, strict=False):
        hunks = [
            hunk.model_dump(mode="json") for hunk in hunks_of(conflict, reader)[: MergeBounds.hunks_told_max]
        ]
        bytes_left -= len(json.dumps(hunks))
        if bytes_left < 0:
            break
        if hunks:
            one["hunks"] = hunks
    return told


def hunks_of(conflict: Conflict, reader: Reader) -> list[MergeHunk]:
    """Return the lines at which two texts conflict; none for other conflicts, and where too many lines differ."""
    if conflict.kind != "content":
        return []
    reader.walked(0)
    contents = [content_of_file(reader, entry) for entry in (conflict.base, conflict.ours, conflict.theirs)]
    if not differ_in_few_lines(MergeBounds.hunks_lines_max, *contents):
        return []
    return [
        MergeHunk(
            base=Lines(first=hunk.base.first, count=hunk.base.count),
            ours=Lines(first=hunk.ours.first, count=hunk.ours.count),
            theirs=Lines(first=hunk.theirs.first, count=hunk.theirs.count),
        )
        for hunk in conflicting_hunks(*contents)
    ]
