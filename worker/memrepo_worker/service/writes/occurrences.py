"""Counting and replacing what is in a file, in steps that other threads can come between.

Python does either at once, and keeps its lock for as long: up to 60 ms for 8 MiB.
"""

from __future__ import annotations

from collections.abc import Iterator

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.threads.giving_way import give_way, joined


def count(data: bytes, old: bytes) -> int:
    """Return how often ``old``, which is not empty, is there, none overlapping another, as ``bytes.count`` does."""
    return sum(len(parts) - 1 for parts in _parted(data, old))


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Return the data with ``new`` in place of each, as ``bytes.replace`` does."""
    return joined([new.join(parts) for parts in _parted(data, old)])


def _parted(data: bytes, old: bytes) -> Iterator[list[bytes]]:
    """Yield for each step what lies between the occurrences that begin in it: one more than there are of these."""
    step = max(SharingBounds.piece_bytes, len(old))
    begin = 0
    while begin < len(data):
        piece = data[begin : begin + step + len(old) - 1]
        parts = piece.split(old)
        # The next step begins after the last occurrence, where that reaches into it.
        end = len(piece) - len(parts[-1]) if len(parts) > 1 else 0
        length = max(step, end)
        parts[-1] = parts[-1][: max(length - end, 0)]
        yield parts
        give_way()
        begin += length
