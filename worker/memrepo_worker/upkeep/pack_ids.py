"""The ids of all objects in some packs, by their indexes: 20 bytes of memory for each, and a mark."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ID_BYTES = 20
_FANOUT = struct.Struct(">256I")
_FANOUT_START = 8
_IDS_START = _FANOUT_START + _FANOUT.size
_LARGE_OFFSET = 0x80000000


class PackIds:
    """Says which objects there are, and which of them were marked."""

    def __init__(self) -> None:
        self._indexes: list[_Index] = []

    def add(self, index: Path, count: int | None = None, end: int | None = None) -> None:
        """Take in the index of a pack (version 2).

        Of a pack of ``count`` objects that git has completed by others, which lie from ``end`` on, without those.
        """
        self._indexes.append(_Index.read(index, count, end))

    def __contains__(self, sha: str) -> bool:
        wanted = bytes.fromhex(sha)
        return any(index.place_of(wanted) is not None for index in self._indexes)

    def __iter__(self) -> Iterator[str]:
        """Yield all of them, each once for every pack that has it."""
        return (index.id_at(place).hex() for index in self._indexes for place in index.places())

    def added(self) -> Iterator[str]:
        """Yield the ids of what git has completed packs by."""
        return (index.id_at(place).hex() for index in self._indexes for place in index.added)

    def mark(self, sha: str) -> bool:
        """Mark an object; return whether it is one of these and was not marked before."""
        wanted = bytes.fromhex(sha)
        is_new = False
        for index in self._indexes:
            place = index.place_of(wanted)
            if place is not None and not index.marks[place]:
                index.marks[place] = 1
                is_new = True
        return is_new

    def rest(self) -> Iterator[str]:
        """Yield those that were not marked, each once; by that they are."""
        for index in self._indexes:
            for place in index.places():
                if not index.marks[place]:
                    sha = index.id_at(place).hex()
                    self.mark(sha)
                    yield sha


@dataclass(frozen=True, slots=True)
class _Index:
    """One pack's index: where the ids begin that start with each byte, and the ids in order."""

    fanout: tuple[int, ...]
    ids: bytes
    marks: bytearray
    added: frozenset[int]

    @classmethod
    def read(cls, path: Path, count: int | None, end: int | None) -> _Index:
        data = path.read_bytes()
        fanout = _FANOUT.unpack_from(data, _FANOUT_START)
        there = fanout[-1]
        ids = data[_IDS_START : _IDS_START + _ID_BYTES * there]
        is_completed = count is not None and end is not None and there != count
        added = frozenset(_places_from(data, there, end)) if is_completed and end is not None else frozenset()
        return cls(fanout, ids, bytearray(there), added)

    def places(self) -> Iterator[int]:
        return (place for place in range(len(self.marks)) if place not in self.added)

    def id_at(self, place: int) -> bytes:
        return self.ids[_ID_BYTES * place : _ID_BYTES * (place + 1)]

    def place_of(self, wanted: bytes) -> int | None:
        first = wanted[0]
        low, high = self.fanout[first - 1] if first else 0, self.fanout[first]
        while low < high:
            middle = (low + high) // 2
            found = self.id_at(middle)
            if found == wanted:
                return None if middle in self.added else middle
            if found < wanted:
                low = middle + 1
            else:
                high = middle
        return None


def _places_from(data: bytes, count: int, end: int) -> Iterator[int]:
    """Yield the places in an index of objects that lie at ``end`` of the pack or after it."""
    offsets_start = _IDS_START + count * (_ID_BYTES + 4)
    large_start = offsets_start + 4 * count
    for place in range(count):
        (offset,) = struct.unpack_from(">I", data, offsets_start + 4 * place)
        if offset & _LARGE_OFFSET:
            (offset,) = struct.unpack_from(">Q", data, large_start + 8 * (offset & ~_LARGE_OFFSET))
        if offset >= end:
            yield place
