"""What a merge did, or would meet."""

from __future__ import annotations

from typing import Literal

from memrepo.models.base import ResultModel
from memrepo.models.files import MemoryFile

FastForward = Literal["prefer", "only", "never"]
Favor = Literal["ours", "theirs", "union"]
MergeKind = Literal["up_to_date", "fast_forward", "merge", "squash"]
ConflictKind = Literal["content", "binary", "too_large", "deleted", "mode", "type", "file_folder", "name"]


class MergeResult(ResultModel):
    """What a merge did to its target: ``sha`` is the commit that it is at, ``parents`` are that commit's.

    ``files_changed`` are the paths that differ from what the target had before.
    """

    sha: str
    kind: MergeKind
    parents: list[str]
    files_changed: list[str]


class Lines(ResultModel):
    """Some lines of a file, from ``first`` (counted from 1) on; with a count of 0 the place where none are."""

    first: int
    count: int


class MergeHunk(ResultModel):
    """Lines of the base that both sides changed, and what each has in their place."""

    base: Lines
    ours: Lines
    theirs: Lines


class MergeConflict(ResultModel):
    """One path at which somebody has to decide; None stands for "no file there".

    ``kind``: ``content`` (the same lines), ``binary``, ``too_large`` (more differs than workers merge by lines),
    ``deleted`` (by the one side, changed by the other), ``mode``, ``type`` (a link or a submodule, as adopted histories
    have), ``file_folder`` (a file where the other side has a folder), ``name`` (one that macOS or Windows take for a
    neighbour's).
    """

    path: str
    kind: ConflictKind
    base: MemoryFile | None = None
    ours: MemoryFile | None = None
    theirs: MemoryFile | None = None
    hunks: list[MergeHunk] = []  # noqa: RUF012 - pydantic gives each its own


class MergePreview(ResultModel):
    """What a merge would do now: ``conflicts`` is empty where it would succeed.

    ``base_sha`` is the newest commit that both sides come from, None where they have nothing in common.
    """

    source_sha: str
    target_sha: str
    base_sha: str | None
    kind: MergeKind
    files_changed: list[str]
    conflicts: list[MergeConflict]
