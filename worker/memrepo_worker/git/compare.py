"""Comparing two contents: patches, and lines counted exactly as ``git diff --numstat --no-renames`` does.

libgit2 carries git's own xdiff; Python's difflib counts differently in one of ten random edits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pygit2

# buffer_is_binary in git's xdiff-interface.c looks for NUL in this many bytes.
_BINARY_SNIFF_BYTES = 8000
_HUNK = re.compile(rb"^@@ ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lines added and removed, and the hunks of the patch; a binary file has neither."""

    additions: int
    deletions: int
    hunks: bytes = b""
    binary: bool = False

    def patch(self, path: str) -> str:
        """Return the difference as a unified patch of that path; bytes that are not UTF-8 are replaced."""
        if not self.hunks:
            return ""
        return f"--- a/{path}\n+++ b/{path}\n" + self.hunks.decode(errors="replace")


def is_binary(data: bytes) -> bool:
    """Whether git shows this content as binary."""
    return b"\0" in data[:_BINARY_SNIFF_BYTES]


def lines_of(data: bytes) -> int:
    """Count lines as git does: a last one without a line break counts too."""
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def compare(old: bytes, new: bytes) -> Comparison:
    """Compare two contents in process. Holds up every thread meanwhile, so not for large ones."""
    if is_binary(old) or is_binary(new):
        return Comparison(0, 0, binary=True)
    patch = pygit2.Patch.create_from(old, new, flag=pygit2.enums.DiffOption.FORCE_TEXT)
    _, additions, deletions = patch.line_stats
    return Comparison(additions, deletions, _hunks(patch.data))


def parse_patch(patch: bytes) -> Comparison:
    """Return the comparison that a patch of one file, as git prints it, stands for."""
    hunks = _hunks(patch)
    additions = deletions = 0
    for line in hunks.split(b"\n"):
        additions += line.startswith(b"+")
        deletions += line.startswith(b"-")
    return Comparison(additions, deletions, hunks)


def _hunks(patch: bytes) -> bytes:
    first = _HUNK.search(patch)
    return patch[first.start() :] if first else b""
