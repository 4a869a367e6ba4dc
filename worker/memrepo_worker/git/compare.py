"""Comparing two contents: patches, and lines counted exactly as ``git diff --numstat --no-renames`` does.

libgit2 carries git's own xdiff; Python's difflib counts differently in one of ten random edits.
"""

from __future__ import annotations

from dataclasses import dataclass

import pygit2

# buffer_is_binary in git's xdiff-interface.c looks for NUL in this many bytes.
_BINARY_SNIFF_BYTES = 8000


@dataclass(frozen=True, slots=True)
class LineCounts:
    """Lines added and removed; a binary file counts none."""

    additions: int
    deletions: int
    binary: bool = False


def is_binary(data: bytes) -> bool:
    """Whether git shows this content as binary."""
    return b"\0" in data[:_BINARY_SNIFF_BYTES]


def count_lines(old: bytes, new: bytes) -> LineCounts:
    """Return what changed between two contents, in lines."""
    if is_binary(old) or is_binary(new):
        return LineCounts(0, 0, binary=True)
    _, additions, deletions = pygit2.Patch.create_from(
        old, new, flag=pygit2.enums.DiffOption.FORCE_TEXT, context_lines=0
    ).line_stats
    return LineCounts(additions, deletions)


def unified(old: bytes, new: bytes, path: str) -> str:
    """Return the difference of two texts as a unified patch of that path; bytes that are not UTF-8 are replaced."""
    patch = pygit2.Patch.create_from(
        old, new, old_as_path=path, new_as_path=path, flag=pygit2.enums.DiffOption.FORCE_TEXT
    )
    return patch.data.decode(errors="replace")
