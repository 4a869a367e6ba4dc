"""What differs between two commits."""

from __future__ import annotations

from typing import Literal

from memrepo.models.base import ResultModel


class FileDiff(ResultModel):
    """What happened to one file between two commits; ``patch`` is empty for a binary file.

    It is empty, too, where ``counts_exact`` is False (see ``MemoryCommit``).
    """

    path: str
    status: Literal["added", "modified", "deleted"]
    additions: int
    deletions: int
    binary: bool
    patch: str
    counts_exact: bool = True


class Diff(ResultModel):
    """The difference between two commits."""

    base_sha: str
    target_sha: str
    files: list[FileDiff]
