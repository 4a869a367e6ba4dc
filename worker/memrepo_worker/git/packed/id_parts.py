"""The ids of a pack that begin alike, read from its index without the rest of it (gitformat-pack, version 2).

An index has all ids in order, and says first how many there are up to each first byte. Who has held the whole of it
against its checksum once, keeps a hash of each of these 256 parts, and holds what is read later against that.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from memrepo_worker.files.regular import regular
from memrepo_worker.git.pack_files import FANOUT_BEGIN, FANOUT_END, PackIndex

_ID_BYTES = 20
_PARTS = 256

MEMORY_BYTES = _PARTS * (8 + 8) + 256
"""About how much memory it takes."""


@dataclass(frozen=True, slots=True)
class IdParts:
    """Where in an index the ids of each first byte end, and what each part was, by a hash that nobody can foresee."""

    ends: array[int]
    hashes: array[int]

    @classmethod
    def of(cls, index: PackIndex) -> IdParts:
        """Return it for an index of which every byte is proven."""
        ends = array("Q", struct.unpack_from(f">{_PARTS}I", index.data, FANOUT_BEGIN))
        ids = memoryview(index.data)[FANOUT_END : FANOUT_END + _ID_BYTES * ends[-1]]
        parts = (ids[_ID_BYTES * begin : _ID_BYTES * end] for begin, end in pairwise((0, *ends)))
        return cls(ends, array("q", map(hash, map(bytes, parts))))

    def ids_beginning(self, path: Path, digits: str) -> Iterator[str]:
        """Yield the ids that begin with these hexadecimal digits, two or more, in order, from the index at a path.

        Raises:
            ValueError, OSError: it is not there as it was.
        """
        byte = int(digits[:2], 16)
        begin, end = self.ends[byte - 1] if byte else 0, self.ends[byte]
        with open(path, "rb", buffering=0, opener=regular) as file:
            file.seek(FANOUT_END + _ID_BYTES * begin)
            part = file.read(_ID_BYTES * (end - begin))
        if hash(part) != self.hashes[byte]:
            raise ValueError("its index is damaged")
        text = part.hex()
        for place in range(0, len(text), 2 * _ID_BYTES):
            if text.startswith(digits, place):
                yield text[place : place + 2 * _ID_BYTES]
