"""A run of an agent's ledger: its lines in a file that is only appended to, and in memory where each of them begins.

A record is a line with the CRC-32 of its text before it. In memory a line takes 24 bytes: the hash of its request id,
its place in the file, and its time, in arrays that are sorted by hash.
"""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from memrepo_worker.files.regular import read_regular, regular
from memrepo_worker.journal.ledger import DELETED, LedgerLine, decode_lines
from memrepo_worker.repos.trust import WarmRepoDamagedError

RECORDS_MAX = 8192
"""How many lines a file takes: what is forgotten, or put together anew, at a time is at most that."""

_CRC_BYTES = 9  # eight hexadecimal digits and a space
_READ_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """What a segment's file must be: one that is shorter, or begins with other bytes, is damaged."""

    name: str
    size: int
    sha256: str


def hash_of(request_id: str) -> int:
    """Return the hash by which a line is found; nobody outside this process can foresee it."""
    return hash(request_id)


class LedgerSegment:
    """Consecutive lines of a ledger. Those that were forgotten stay in the file until it is made anew."""

    def __init__(self, path: Path) -> None:
        """``path`` is where the lines are going to lie; nothing is there yet."""
        self.path = path
        self.records = 0
        self._hashes = array("q")
        self._offsets = array("Q")
        self._times = array("d")
        self._deletes: list[int] = []
        self._written = 0
        self._tail = bytearray()
        self._digest = hashlib.sha256()
        self._oldest_s, self._newest_s = math.inf, -math.inf

    @classmethod
    def load(cls, folder: Path, file: SegmentFile) -> LedgerSegment:
        """Read a file that was written before; what follows in it was being written when a process ended.

        Raises:
            ValueError, OSError: it is damaged, or cannot be read.
        """
        segment = cls(folder / file.name)
        text = read_regular(segment.path)
        if len(text) > file.size:
            os.truncate(segment.path, file.size)
            text = text[: file.size]
        segment._digest.update(text)
        segment._written = len(text)
        if len(text) != file.size or segment._digest.hexdigest() != file.sha256:
            raise ValueError("a damaged file of the ledger")
        segment._index(text)
        return segment

    def __len__(self) -> int:
        """How many lines are known."""
        return len(self._hashes)

    @property
    def hashes(self) -> Iterable[int]:
        """The hash of each line's request id."""
        return self._hashes

    @property
    def newest_s(self) -> float:
        """The time of the newest line."""
        return self._newest_s

    @property
    def newest_delete(self) -> int | None:
        """Where the last line of a delete begins, or None."""
        return self._deletes[-1] if self._deletes else None

    @property
    def is_full(self) -> bool:
        """Whether further lines belong into another file."""
        return self.records >= RECORDS_MAX

    @property
    def is_sparse(self) -> bool:
        """Whether most of the file is forgotten."""
        return 2 * len(self) <= self.records

    def find(self, request_id: str) -> LedgerLine | None:
        """Return the line of a request, or None.

        Raises:
            WarmRepoDamagedError: the file is not what was written.
        """
        found = self._position(request_id)
        return None if found is None else self._line_at(self._offsets[found])

    def add(self, line: LedgerLine) -> None:
        """Append a line, of a request that has none here."""
        text = str(line).encode()
        offset = self._written + len(self._tail)
        self._tail += b"%08x %s\n" % (zlib.crc32(text), text)
        key = hash_of(line.request_id)
        place = bisect_left(self._hashes, key)
        self._hashes.insert(place, key)
        self._offsets.insert(place, offset)
        self._times.insert(place, line.enqueued_at)
        if line.verdict == DELETED:
            self._deletes.append(offset)
        self._oldest_s = min(self._oldest_s, line.enqueued_at)
        self._newest_s = max(self._newest_s, line.enqueued_at)
        self.records += 1

    def remove(self, request_id: str) -> bool:
        """Forget the line of a request; say whether there was one."""
        found = self._position(request_id)
        if found is None:
            return False
        offset = self._offsets[found]
        for column in (self._hashes, self._offsets, self._times):
            del column[found]
        self._deletes = [delete for delete in self._deletes if delete != offset]
        self._measure()
        return True

    def forget(self, oldest_s: float, kept_offset: int | None) -> None:
        """Forget the lines of requests enqueued before ``oldest_s``, but for the one that begins at ``kept_offset``.

        Costs nothing where no line is that old.
        """
        if self._oldest_s >= oldest_s:
            return
        kept = bytearray(map(oldest_s.__le__, self._times))
        if kept_offset is not None:
            kept[self._offsets.index(kept_offset)] = True
        self._hashes = array("q", compress(self._hashes, kept))
        self._offsets = array("Q", compress(self._offsets, kept))
        self._times = array("d", compress(self._times, kept))
        if self._deletes:
            left = set(self._offsets)
            self._deletes = [offset for offset in self._deletes if offset in left]
        self._measure()

    def lines(self) -> Iterator[LedgerLine]:
        """Yield the lines in the journal's order.

        Raises:
            WarmRepoDamagedError: the file is not what was written.
        """
        text = self._stored() + self._tail
        for offset in sorted(self._offsets):
            yield self._decoded(text[offset : text.index(b"\n", offset)])

    def write(self) -> None:
        """Append to the file what is only in memory.

        Raises:
            WarmRepoDamagedError: the file is not what was written.
            OSError: the disk does not take it.
        """
        if not self._tail:
            return
        flags = os.O_RDWR | (0 if self._written else os.O_CREAT | os.O_TRUNC)
        try:
            number = regular(self.path, flags)
        except FileNotFoundError as error:
            raise self._damaged() from error
        with os.fdopen(number, "r+b") as file:
            if os.fstat(number).st_size < self._written:
                raise self._damaged()
            file.truncate(self._written)  # what an earlier try wrote of this
            file.seek(self._written)
            file.write(self._tail)
            file.flush()
            os.fsync(number)
        self._digest.update(self._tail)
        self._written += len(self._tail)
        self._tail.clear()

    @property
    def file(self) -> SegmentFile:
        """What the file is after ``write``."""
        return SegmentFile(self.path.name, self._written, self._digest.hexdigest())

    def _index(self, text: bytes) -> None:
        """Note all lines of a file at once."""
        found: dict[str, tuple[int, int, float]] = {}
        deletes = []
        offset = 0
        for record in text.split(b"\n")[:-1]:
            request_id, _, verdict, _, time, *_ = record[_CRC_BYTES:].decode().split(" ", 5)
            found[request_id] = hash_of(request_id), offset, float(time)  # the later one counts
            if verdict == DELETED:
                deletes.append(offset)
            offset += len(record) + 1
            self.records += 1
        for key, place, enqueued_at in sorted(found.values()):
            self._hashes.append(key)
            self._offsets.append(place)
            self._times.append(enqueued_at)
        left = set(self._offsets)
        self._deletes = [delete for delete in deletes if delete in left]
        self._measure()

    def _measure(self) -> None:
        self._oldest_s = min(self._times, default=math.inf)
        self._newest_s = max(self._times, default=-math.inf)

    def _position(self, request_id: str) -> int | None:
        key = hash_of(request_id)
        place = bisect_left(self._hashes, key)
        while place < len(self._hashes) and self._hashes[place] == key:
            if self._line_at(self._offsets[place]).request_id == request_id:
                return place
            place += 1
        return None

    def _line_at(self, offset: int) -> LedgerLine:
        if offset >= self._written:
            first = offset - self._written
            return self._decoded(self._tail[first : self._tail.index(b"\n", first)])
        record = b""
        with suppress(FileNotFoundError), open(self.path, "rb", opener=regular) as file:
            file.seek(offset)
            while b"\n" not in record and (read := file.read(_READ_BYTES)):
                record += read
        return self._decoded(record.partition(b"\n")[0])

    def _stored(self) -> bytes:
        if not self._written:
            return b""
        try:
            text = read_regular(self.path)[: self._written]
        except FileNotFoundError as error:
            raise self._damaged() from error
        if hashlib.sha256(text).digest() != self._digest.digest():
            raise self._damaged()
        return text

    def _decoded(self, record: bytes | bytearray) -> LedgerLine:
        text = bytes(record[_CRC_BYTES:])
        if b"%08x " % zlib.crc32(text) != record[:_CRC_BYTES]:
            raise self._damaged()
        try:
            return decode_lines(text + b"\n")[0]
        except ValueError as error:
            raise self._damaged() from error

    def _damaged(self) -> WarmRepoDamagedError:
        return WarmRepoDamagedError(f"{self.path.name} is damaged")
