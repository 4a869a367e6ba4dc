"""The bits of a warm copy's files, one by one; of its packs those of the objects' headers.

A header says of which kind an object is, how large, and from what a delta is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.stock_git import stock_git

_OFFSET_DELTA, _REF_DELTA = 6, 7
_ID_BYTES = 20


@dataclass(frozen=True)
class Bit:
    """One bit of a file below the folder of a memory."""

    file: Path
    place: int
    number: int

    def flip(self, folder: Path, *, unseen: bool = False) -> None:
        """Flip it in the copy of the memory in a folder; ``unseen`` keeps the file's time, as a worn disk does."""
        path = folder / self.file
        found = path.stat()
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(self.place)
            (byte,) = file.read(1)
            file.seek(self.place)
            file.write(bytes([byte ^ 1 << self.number]))
        if unseen:
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def header_bits(memory: Path) -> list[Bit]:
    """Return each bit of each header in the packs of a memory's warm copy, in order."""
    return [
        Bit(pack.relative_to(memory), place, number)
        for pack in sorted((memory / "cache").rglob("pack-*.pack"))
        for first, end in _headers(pack)
        for place in range(first, end)
        for number in range(8)
    ]


def delta_bits(memory: Path) -> list[Bit]:
    """Return of each header in the packs of a warm copy the bit by which deltas differ from files and folders."""
    return [
        Bit(pack.relative_to(memory), first, 6)
        for pack in sorted((memory / "cache").rglob("pack-*.pack"))
        for first, _ in _headers(pack)
    ]


def other_bits(memory: Path) -> list[Bit]:
    """Return each bit of each file that is no pack in a memory's warm copy, in order."""
    files = [path for path in sorted((memory / "cache").rglob("*")) if path.is_file()]
    return [
        Bit(file.relative_to(memory), place, number)
        for file in files
        if file.suffix != ".pack"
        for place in range(file.stat().st_size)
        for number in range(8)
    ]


def delta_kinds(memory: Path) -> set[int]:
    """Return which kinds of deltas lie in the packs of a memory's warm copy."""
    return {
        pack.read_bytes()[first] >> 4 & 7
        for pack in (memory / "cache").rglob("pack-*.pack")
        for first, _ in _headers(pack)
    } & {_OFFSET_DELTA, _REF_DELTA}


def _headers(pack: Path) -> Iterator[tuple[int, int]]:
    """Yield where each object's header begins and ends."""
    data = pack.read_bytes()
    listed = (
        stock_git().run(["show-index"], stdin=pack.with_suffix(".idx").read_bytes()).decode().splitlines()
    )
    for first in sorted(int(line.split()[0]) for line in listed):
        end = _end_of_number(data, first)
        match data[first] >> 4 & 7:
            case kind if kind == _REF_DELTA:
                end += _ID_BYTES
            case kind if kind == _OFFSET_DELTA:
                end = _end_of_number(data, end)
        yield first, end


def _end_of_number(data: bytes, first: int) -> int:
    while data[first] & 0x80:
        first += 1
    return first + 1
