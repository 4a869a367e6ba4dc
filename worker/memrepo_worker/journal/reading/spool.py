"""A file in which parts of a journal lie while it is read: what does not fit into memory goes straight to disk."""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable
from typing import IO

from memrepo.limits import MIB

OpenFile = Callable[[], IO[bytes]]
"""Opens a new file without a name, where there is room for it."""

_STEP_BYTES = 64 * MIB


class Spool:
    """A file without a name: nobody can cut it under its readers, and it is gone with the last view of it.

    Any thread may write where room was allotted; all else is for one thread. Raises ``OSError`` where the disk does not
    take it.
    """

    def __init__(self, open_file: OpenFile) -> None:
        with open_file() as file:
            self._file = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._file)  # once nobody writes any more
        self._end = self._size = self._mapped_from = 0
        self._mapped = memoryview(b"")

    @property
    def allotted_bytes(self) -> int:
        """How much of it is allotted."""
        return self._end

    def allot(self, size: int) -> int:
        """Return where so many bytes are to be written, after all that was allotted before."""
        start = self._end
        self._end += size
        if self._end > self._size:
            self._size = self._end + _STEP_BYTES
            os.ftruncate(self._file, self._size)
        return start

    def write(self, start: int, data: bytes | memoryview) -> None:
        """Write bytes at a place."""
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file, left, start)
            left, start = left[written:], start + written

    def view(self, start: int, size: int) -> memoryview:
        """Return what was written there; whoever asks in order of places has few parts of the file mapped."""
        if start < self._mapped_from or start + size > self._mapped_from + len(self._mapped):
            self._mapped_from = start - start % mmap.ALLOCATIONGRANULARITY
            length = self._size - self._mapped_from
            self._mapped = memoryview(
                mmap.mmap(self._file, length, access=mmap.ACCESS_READ, offset=self._mapped_from)
            )
        begin = start - self._mapped_from
        return self._mapped[begin : begin + size]
