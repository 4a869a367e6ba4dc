"""Large objects of packs, unpacked in steps (gitformat-pack, version 2).

libgit2 keeps Python's lock until it has an object whole: 16 ms for 8 MiB of text, in which no other request is served.
Small ones it reads quicker than this does. Whatever is not as it is expected here is left to it, too: it knows all
forms, and says what is damaged.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memrepo.limits import KIB
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.files.regular import regular
from memrepo_worker.git.objects import KINDS, GitObject, Kind
from memrepo_worker.git.pack_files import FANOUT_BEGIN, FANOUT_END
from memrepo_worker.git.packs import LARGE_OFFSET, OFFSET_DELTA, REF_DELTA
from memrepo_worker.threads.giving_way import gathered, give_way, joined

LARGE_BYTES = 256 * KIB
"""What has as many is read here: less takes libgit2 half a millisecond."""

_DEPTH_MAX = 64
_COMMANDS_MAX = 64 * KIB
_SHA1_BYTES = 20
_HEAD_BYTES = 64


Place = tuple[str, int]
"""A pack (``pack-…``), and where in it an object begins."""


class _OtherFormError(ValueError):
    """Something is not as it is expected."""


def read_in_steps(
    folder: Path, packs: Iterable[str], sha: str, place: Place | None = None
) -> GitObject | None:
    """Return an object from these packs (``pack-…``); None where it is not there, or to be read by libgit2.

    Where it lies is looked up in the indexes as they are on disk now, unless its ``place`` is known.
    """
    try:
        for name, offset in _places(folder, packs, sha) if place is None else (place,):
            with _opened(folder / f"{name}.idx") as index, _opened(folder / f"{name}.pack") as pack:
                kind, data = _Unpacking(pack, _Index(index)).at(offset)
                return GitObject(kind, data)
    except (OSError, ValueError, LookupError, zlib.error):
        return None
    return None


def _opened(path: Path) -> IO[bytes]:
    return open(path, "rb", opener=regular)


def _places(folder: Path, packs: Iterable[str], sha: str) -> Iterator[Place]:
    wanted = bytes.fromhex(sha)
    for name in packs:
        with _opened(folder / f"{name}.idx") as file:
            offset = _Index(file).find(wanted)
        if offset is not None:
            yield name, offset


@dataclass(frozen=True, slots=True)
class _Index:
    """A pack's index (version 2), of which what is asked for is read."""

    file: IO[bytes]

    def find(self, sha: bytes) -> int | None:
        """Return where an object begins in the pack, or None."""
        place = FANOUT_BEGIN + 4 * sha[0]
        first = int.from_bytes(self._read(place - 4, 4)) if sha[0] else 0
        end, count = int.from_bytes(self._read(place, 4)), int.from_bytes(self._read(FANOUT_END - 4, 4))
        if not first <= end <= count <= os.fstat(self.file.fileno()).st_size // _SHA1_BYTES:
            raise _OtherFormError
        ids = self._read(FANOUT_END + first * _SHA1_BYTES, (end - first) * _SHA1_BYTES)
        at = ids.find(sha)
        while at % _SHA1_BYTES and at >= 0:  # the end of one id and the beginning of the next
            at = ids.find(sha, at + 1)
        if at < 0:
            return None
        offsets = FANOUT_END + count * (_SHA1_BYTES + 4)
        offset = int.from_bytes(self._read(offsets + 4 * (first + at // _SHA1_BYTES), 4))
        if offset < LARGE_OFFSET:
            return offset
        return int.from_bytes(self._read(offsets + 4 * count + 8 * (offset - LARGE_OFFSET), 8))

    def _read(self, start: int, size: int) -> bytes:
        self.file.seek(start)
        return self.file.read(size)


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """Objects of one pack."""

    pack: IO[bytes]
    index: _Index

    def at(self, offset: int, depth: int = 0) -> tuple[Kind, bytes]:
        """Return what begins there.

        Raises:
            ValueError, LookupError, zlib.error: it is no object of a form that is known here, or a damaged one.
        """
        self.pack.seek(offset)
        head = self.pack.read(_HEAD_BYTES)
        number, size, used = _header_in(head)
        if number in KINDS:
            return KINDS[number], self._inflated(offset + used, size)
        if depth == _DEPTH_MAX:
            raise _OtherFormError
        if number == REF_DELTA:
            base = self.index.find(head[used : used + _SHA1_BYTES])
            used += _SHA1_BYTES
        elif number == OFFSET_DELTA:
            back, used = _distance_in(head, used)
            base = offset - back
        else:
            base = None
        if base is None:
            raise _OtherFormError
        delta = self._inflated(offset + used, size)
        kind, data = self.at(base, depth + 1)
        return kind, _applied(delta, data)

    def _inflated(self, offset: int, size: int) -> bytes:
        """Return what is compressed there, which is to have so many bytes."""
        return gathered(self._pieces(offset, size), size)

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        self.pack.seek(offset)
        stream = zlib.decompressobj()
        made, fed = 0, b""
        while not stream.eof:
            fed = stream.unconsumed_tail or self.pack.read(SharingBounds.piece_bytes)
            piece = stream.decompress(fed, SharingBounds.piece_bytes)
            made += len(piece)
            if made > size or not (fed or piece):
                raise _OtherFormError
            yield piece
            give_way()
        if made != size:
            raise _OtherFormError


def _header_in(head: bytes) -> tuple[int, int, int]:
    """Return an object's kind, its size, and how many bytes say so."""
    number, size, shift, used = head[0] >> 4 & 7, head[0] & 0x0F, 4, 1
    while head[used - 1] & 0x80:
        size |= (head[used] & 0x7F) << shift
        shift, used = shift + 7, used + 1
    return number, size, used


def _distance_in(head: bytes, at: int) -> tuple[int, int]:
    """Return how far before a delta its base begins, and where what says so ends."""
    distance = head[at] & 0x7F
    while head[at] & 0x80:
        at += 1
        distance = (distance + 1) << 7 | head[at] & 0x7F
    return distance, at + 1


def _applied(delta: bytes, base: bytes) -> bytes:
    """Return what a delta makes of its base."""
    base_bytes, at = _number_in(delta, 0)
    size, at = _number_in(delta, at)
    if base_bytes != len(base):
        raise _OtherFormError
    old, new = memoryview(base), memoryview(delta)
    parts: list[memoryview] = []
    made = 0
    while at < len(delta):
        command = delta[at]
        at += 1
        if command & 0x80:
            start, length, at = _copy_in(delta, command, at)
            parts.append(old[start : start + length])
        else:
            length = command
            parts.append(new[at : at + length])
            at += length
        made += length
        if not length or len(parts[-1]) != length or len(parts) > _COMMANDS_MAX:
            raise _OtherFormError
        give_way()
    if made != size:
        raise _OtherFormError
    return joined(parts)


def _copy_in(delta: bytes, command: int, at: int) -> tuple[int, int, int]:
    """Return what a command copies, from where and how much, and where it ends."""
    numbers = []
    for bits, shift_max in ((command & 0x0F, 32), (command >> 4 & 0x07, 24)):
        value = 0
        for place in range(shift_max // 8):
            if bits >> place & 1:
                value |= delta[at] << 8 * place
                at += 1
        numbers.append(value)
    return numbers[0], numbers[1] or 0x10000, at


def _number_in(delta: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (delta[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not delta[at - 1] & 0x80:
            return value, at
