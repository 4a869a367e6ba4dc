"""Comparing two contents: patches, and lines counted exactly as ``git diff --numstat --no-renames`` does.

libgit2 carries git's own xdiff; Python's difflib counts differently in one of ten random edits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pygit2

from memrepo_worker.bounds import CompareBounds, SharingBounds
from memrepo_worker.git.deltas.alike import alike_from, alike_up_to
from memrepo_worker.git.objects import TreeEntry
from memrepo_worker.git.reader import Reader, content_of
from memrepo_worker.threads.giving_way import give_way, joined, pieces, texts

# buffer_is_binary in git's xdiff-interface.c looks for NUL in this many bytes.
_BINARY_SNIFF_BYTES = 8000
_HUNK = re.compile(rb"^@@ ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Lines added and removed, and the hunks of the patch; a binary file has neither.

    Where it is not ``exact``, all old lines count as removed and all new ones as added, and there are no hunks.
    ``lasting``: the same comes of it each time, as long as the bounds are the same.
    """

    additions: int
    deletions: int
    hunks: bytes = b""
    binary: bool = False
    exact: bool = True
    lasting: bool = True

    def patch(self, path: str) -> str:
        """Return the difference as a unified patch of that path; bytes that are not UTF-8 are replaced."""
        if not self.hunks:
            return ""
        return "".join([f"--- a/{path}\n+++ b/{path}\n", *texts(self.hunks, "replace")])


def is_binary(data: bytes) -> bool:
    """Whether git shows this content as binary."""
    return b"\0" in data[:_BINARY_SNIFF_BYTES]


def lines_of(data: bytes) -> int:
    """Count lines as git does: a last one without a line break counts too. Gives way meanwhile."""
    step = SharingBounds.piece_bytes
    breaks = 0
    for start in range(0, len(data), step):
        breaks += data.count(b"\n", start, start + step)
        give_way()
    return breaks + (not data.endswith(b"\n") and data != b"")


def all_lines(old: bytes, new: bytes, *, lasting: bool = True) -> Comparison:
    """Return what stands for the comparison of two contents that would take too much work."""
    return Comparison(lines_of(new), lines_of(old), exact=False, lasting=lasting)


def compare_with_nothing(old: bytes, new: bytes, *, patch: bool = True) -> Comparison:
    """Compare where one of the two is no file: every line counts, and nothing has to be looked for."""
    if is_binary(old) or is_binary(new):
        return Comparison(0, 0, binary=True)
    removed, added = lines_of(old), lines_of(new)
    data, sign = (old, b"-") if old else (new, b"+")
    if not data or not patch:
        return Comparison(added, removed)
    head = f"@@ -{_range(removed)} +{_range(added)} @@\n".encode()
    lines = (bytes(piece).replace(b"\n", b"\n" + sign) for piece in pieces(data.removesuffix(b"\n")))
    end = b"" if data.endswith(b"\n") else b"\\ No newline at end of file\n"
    return Comparison(added, removed, joined([head, sign, *lines, b"\n", end]))


def _range(lines: int) -> str:
    return {0: "0,0", 1: "1"}.get(lines, f"1,{lines}")


def differing_bytes(old: bytes, new: bytes) -> int:
    """Return how many bytes there are, on both sides, between what the two begin and end with alike."""
    return sum(map(len, _differing_parts(old, new)))


def differ_in_few_lines(lines_max: int, old: bytes, *others: bytes) -> bool:
    """Whether so many lines at most are, on all sides, between what the others begin and end with as the first does.

    How long it takes to compare two contents hangs on that more than on their bytes.
    """
    if len(others) * lines_of(old) + sum(map(lines_of, others)) <= lines_max:
        return True
    parts = (part for other in others for part in _differing_parts(old, other))
    return sum(map(lines_of, parts)) <= lines_max


def _differing_parts(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    begin = alike_from(old, new)
    end = alike_up_to(old, new, len(old), len(new), min(len(old), len(new)) - begin)
    return old[begin : len(old) - end], new[begin : len(new) - end]


def count_one_change(old: bytes, new: bytes) -> Comparison | None:
    """Count where lines were added at one place alone, or removed, or stand for one there; None where it is more.

    Git, too, looks only between the lines that both begin and end with, and there is nothing to be found there.
    """
    begin = old.rfind(b"\n", 0, alike_from(old, new)) + 1
    end = alike_up_to(old, new, len(old), len(new), min(len(old), len(new)) - begin)
    if any(len(data) - end > begin and data[len(data) - end - 1] != ord("\n") for data in (old, new)):
        end = len(old) - (old.find(b"\n", len(old) - end) + 1 or len(old))
    less, more = sorted((data[begin : len(data) - end] for data in (old, new)), key=lines_of)
    if lines_of(less) > 1 or (less and _has_line(more, less.removesuffix(b"\n"))):
        return None
    return Comparison(lines_of(new[begin : len(new) - end]), lines_of(old[begin : len(old) - end]))


def _has_line(data: bytes, line: bytes) -> bool:
    """Whether a line is among these, of which the last is what follows on the last line break. Gives way meanwhile."""
    bounded, wanted = b"".join((b"\n", data, b"\n")), b"".join((b"\n", line, b"\n"))
    step = max(SharingBounds.piece_bytes, len(wanted))
    for start in range(0, len(bounded), step):
        if bounded.find(wanted, start, start + step + len(wanted) - 1) >= 0:
            return True
        give_way()
    return False


def compare(old: bytes, new: bytes) -> Comparison:
    """Compare two contents in process. Holds up every thread meanwhile, so not for large ones."""
    if is_binary(old) or is_binary(new):
        return Comparison(0, 0, binary=True)
    patch = pygit2.Patch.create_from(old, new, flag=pygit2.enums.DiffOption.FORCE_TEXT)
    _, additions, deletions = patch.line_stats
    return Comparison(additions, deletions, _hunks(patch.data))


def parse_patch(patch: bytes) -> Comparison:
    """Return the comparison that a patch of one file, as git prints it, stands for."""
    hunks = _hunks(patch)  # which begin with a line that is neither
    return Comparison(hunks.count(b"\n+"), hunks.count(b"\n-"), hunks)


def _hunks(patch: bytes) -> bytes:
    first = _HUNK.search(patch)
    return patch[first.start() :] if first else b""


@dataclass(frozen=True, slots=True)
class LargePair:
    """Two contents that are too large to be compared in this process, and their ids."""

    old_sha: str
    new_sha: str
    before: bytes
    after: bytes


def compare_in_process(
    reader: Reader, old: TreeEntry | None, new: TreeEntry | None, *, patch: bool = True
) -> Comparison | LargePair:
    """Compare two states of a file, unless that takes too long for this process.

    None stands for "no file". Without ``patch`` none need be made.
    """
    if old is not None and new is not None and old.sha == new.sha:
        return Comparison(0, 0)
    reader.walked(0)
    before = content_of(reader, old)
    give_way()
    after = content_of(reader, new)
    give_way()
    if old is None or new is None:
        return compare_with_nothing(before, after, patch=patch)
    if is_binary(before) or is_binary(after):
        return Comparison(0, 0, binary=True)
    is_small = len(before) + len(after) <= CompareBounds.bytes_max
    if is_small and differ_in_few_lines(CompareBounds.lines_max, before, after):
        return compare(before, after)
    found = None if patch else count_one_change(before, after)
    if found is not None:
        return found
    return LargePair(old.sha, new.sha, before, after)
