"""What differs between two commits."""

from __future__ import annotations

from typing import Literal

from memrepo.models.base import ResultModel


class FileDiff(ResultModel):
    """What happened to one file between two commits; ``patch`` is empty for a binary file.

    It is empty, too, where ``counts_exact`` is False (see ``MemoryCommit``), and where the mode alone has changed.
    ``old_mode`` and ``new_mode`` are as git writes them (``100644``; ``100755`` for an executable file; adopted
    histories may have links, ``120000``, and submodules, ``160000``); None where there is no file.
    """

    path: str
    status: Literal["added", "modified", "deleted"]
    additions: int
    deletions: int
    binary: bool
    patch: str
    counts_exact: bool = True
    old_mode: str | None = None
    new_mode: str | None = None


class Diff(ResultModel):
    """The difference between two commits."""

    base_sha: str
    target_sha: str
    files: list[FileDiff]
