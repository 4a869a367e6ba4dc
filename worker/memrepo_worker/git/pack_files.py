"""Which packs a repository on disk should have, and whether they are all there with sound indexes.

Looking an object up in a pack whose file or index is gone, cut or flipped finds nothing, just as for an object that
never was. Only when every pack is in order does "nothing" mean that there is no such object.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.files.regular import link_regular, read_regular, regular, remove_folder
from memrepo_worker.git.packs import HEADER_BYTES, LARGE_OFFSET, OFFSET_DELTA, REF_DELTA, pack_header
from memrepo_worker.threads.giving_way import give_way, pieces

Sizes = tuple[int, int]
"""The bytes of a pack, and of its index."""

_SHA1_BYTES = 20
_CRC_BYTES = 4
_IDS_PER_STEP = 256
_SORTED_AT_ONCE = 1024
_PARTS = 64
_INDEX_MAGIC = b"\xfftOc\0\0\0\2"
OPENED_PREFIX = "opened-"
"""How folders below ``objects`` begin through which packs are opened; each ends with whoever made it."""
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps files in memory
SHORTAGES = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT, None}
)
"""Numbers of errors (``OSError.errno``) that say what a machine lacks for a while, and nothing of a file.

Where libgit2 tells what the system has refused it, there is no number.
"""

FANOUT_BEGIN = 8
FANOUT_END = FANOUT_BEGIN + 256 * 4
"""Where an index's fan-out table ends, whose last entry is the number of objects, too."""


def ids_in_index(index: bytes) -> set[bytes]:
    """Return the ids of all objects that a pack's index (version 2) names."""
    count = int.from_bytes(index[FANOUT_END - 4 : FANOUT_END])
    end = FANOUT_END + count * _SHA1_BYTES
    return {index[start : start + _SHA1_BYTES] for start in range(FANOUT_END, end, _SHA1_BYTES)}


def remove_others(objects_path: Path, known: Container[str]) -> None:
    """Remove packs that nobody knows, and what a process has left that ended meanwhile.

    That is files that were to replace others, and folders through which it had packs open.
    """
    for path in (objects_path / "pack").iterdir():
        if path.stem not in known:
            path.unlink()
    for path in objects_path.parent.glob(".*.new"):
        path.unlink()
    for parent, prefix in opening_places(objects_path):
        for path in parent.glob(f"{prefix}*"):
            remove_folder(path)


def opening_places(objects_path: Path) -> tuple[tuple[Path, str], tuple[Path, str]]:
    """Return where the folders are made through which packs are opened, and how the names of these begin.

    The first is for all; the second lies in memory, for where the disk takes none: reading shall need no room on it.
    """
    digits = hashlib.blake2b(os.fsencode(objects_path.absolute()), digest_size=8).hexdigest()
    return (objects_path, OPENED_PREFIX), (IN_MEMORY, f"memrepo-{os.geteuid()}-{OPENED_PREFIX}{digits}-")


def link_packs(objects_path: Path, names: Iterable[str], place: Path) -> None:
    """Give packs a second name, in a folder of objects that is made for them, and that nobody else changes.

    There they stay as they are, and are all found, whatever becomes of the first folder.

    Raises:
        OSError: one of them is not there, or is no file, or the place is on another disk.
    """
    for folder in ("pack", "info"):
        (place / folder).mkdir(mode=0o700, parents=True)
    for name in names:
        for suffix in (".pack", ".idx"):
            link_regular(objects_path / "pack" / f"{name}{suffix}", place / "pack" / f"{name}{suffix}")


def move_packs(objects_path: Path, place: Path) -> None:
    """Have the packs of one folder of objects be another's, which is on the same disk, and must look again then."""
    for suffix in (".pack", ".idx"):  # an index makes its pack visible, so they come last
        for path in (objects_path / "pack").glob(f"*{suffix}"):
            path.replace(place / "pack" / path.name)


@dataclass(frozen=True, slots=True)
class PackIndex:
    """The index of a pack (version 2), which is what was written."""

    data: bytes

    @property
    def count(self) -> int:
        """How many objects the pack has."""
        return int.from_bytes(self.data[FANOUT_END - 4 : FANOUT_END])

    def ids(self) -> Iterator[str]:
        """Yield the ids of all objects of the pack, in order."""
        end = FANOUT_END + _SHA1_BYTES * self.count
        for start in range(FANOUT_END, end, _SHA1_BYTES * _IDS_PER_STEP):
            digits = self.data[start : min(start + _SHA1_BYTES * _IDS_PER_STEP, end)].hex()
            for place in range(0, len(digits), 2 * _SHA1_BYTES):
                yield digits[place : place + 2 * _SHA1_BYTES]

    def placed(self) -> Iterator[tuple[str, int]]:
        """Yield each object's id, and where it begins, in the order in which they lie in the pack.

        Takes 8 bytes of memory for each (16 in a pack of gigabytes), and no long step, wherever they lie.
        """
        try:
            offsets = array("I", self.offsets())
        except OverflowError:
            offsets = array("Q", self.offsets())
        for number in _in_order(range(len(offsets)), offsets, 0, 1 + max(offsets, default=0)):
            start = FANOUT_END + _SHA1_BYTES * number
            yield self.data[start : start + _SHA1_BYTES].hex(), offsets[number]

    def offsets(self) -> Iterator[int]:
        """Yield where each object begins, in the order of ``ids``."""
        return self._offsets(0, self.count)

    def offset_of(self, sha: str) -> int | None:
        """Return where one object begins, or None where the pack does not have it."""
        wanted, count = bytes.fromhex(sha), self.count
        number = bisect_left(range(count), wanted, key=self._id)
        if number == count or self._id(number) != wanted:
            return None
        return next(self._offsets(number, number + 1))

    def _id(self, number: int) -> bytes:
        begin = FANOUT_END + _SHA1_BYTES * number
        return self.data[begin : begin + _SHA1_BYTES]

    def _offsets(self, first: int, end: int) -> Iterator[int]:
        table = FANOUT_END + (_SHA1_BYTES + _CRC_BYTES) * self.count
        for (offset,) in struct.iter_unpack(">I", memoryview(self.data)[table + 4 * first : table + 4 * end]):
            if offset < LARGE_OFFSET:
                yield offset
            else:
                large = table + 4 * self.count + 8 * (offset - LARGE_OFFSET)
                yield int.from_bytes(self.data[large : large + 8])

    @property
    def pack_checksum(self) -> bytes:
        """What the pack ends in."""
        return self.data[-2 * _SHA1_BYTES : -_SHA1_BYTES]


class PackFiles:
    """The packs below one ``objects`` folder. ``expected`` maps their names (``pack-…``) to their sizes."""

    def __init__(self, objects_path: Path, expected: Mapping[str, Sizes] | None = None) -> None:
        self._folder = objects_path / "pack"
        self._sound: dict[str, tuple[int, int]] = {}
        self._replaced: set[str] = set()
        self.expected: Mapping[str, Sizes] = self._listed() if expected is None else dict(expected)

    def take_stock(self) -> None:
        """Expect what is there, too; called by the one who has just written packs.

        What was expected stays so: packs are never removed one by one, and one that is gone must not be forgotten.
        """
        self.expected = {**self._listed(), **self.expected}

    def replace(self, names: Iterable[str]) -> None:
        """Expect what is there, without these: what they hold lies in another, too."""
        self._replaced.update(
            names
        )  # they are on disk until they are removed, and not to be counted in again
        there = {**self._listed(), **self.expected}
        self.expected = {name: sizes for name, sizes in there.items() if name not in self._replaced}

    def remove(self, names: Iterable[str]) -> None:
        """Remove the files of packs that are not expected any more."""
        for name in names:
            for suffix in (".idx", ".pack", ".rev"):  # without its index none looks into it
                (self._folder / f"{name}{suffix}").unlink(missing_ok=True)
            self._sound.pop(name, None)
            self._replaced.discard(name)

    def fault(self) -> str | None:
        """Say what is wrong with the packs, or None when nothing is.

        Costs opening two files per pack (libgit2 passes over one that it may not open, or has no file number left for),
        and reading the index where that was not done since it was written.

        Raises:
            OSError: the machine does not let us look, for a while.
        """
        for name, (pack_bytes, index_bytes) in self.expected.items():
            try:
                pack, index = (self._opened(f"{name}{suffix}") for suffix in (".pack", ".idx"))
            except OSError as error:
                if error.errno in SHORTAGES:
                    raise
                return f"{name} cannot be read: {error.strerror}"
            if (pack.st_size, index.st_size) != (pack_bytes, index_bytes):
                return f"{name} has another size than it had"
            seen = (pack.st_mtime_ns, index.st_mtime_ns)
            if self._sound.get(name) != seen:
                if not self._is_sound(name):
                    return f"{name} is damaged"
                self._sound[name] = seen
        return None

    def index(self, name: str) -> PackIndex:
        """Return the index of a pack, every byte of it proven.

        Raises:
            ValueError, OSError: it is not what was written.
        """
        data = read_regular(self._folder / f"{name}.idx")
        is_whole = len(data) == self.expected[name][1] and _ends_in_its_checksum(data)
        if not is_whole or not _is_well_formed(data):
            raise ValueError("its index is damaged")
        return PackIndex(data)

    def proven(self, name: str, index: PackIndex | None = None) -> Iterator[tuple[str, int, bool]]:
        """Yield the ids of a pack's objects, where each begins, and whether it is a delta, once all bytes were proven.

        They come as they lie in the pack: who looks at each there, has a part of it after the other in memory.
        ``index`` is what ``index`` has returned, where that was asked before. Raises what that does.
        """
        index = index or self.index(name)
        with open(self._folder / f"{name}.pack", "rb", opener=regular) as file:
            self._require_whole(file, self.expected[name][0], index.pack_checksum)
            for sha, offset in index.placed():
                file.seek(offset)
                yield sha, offset, int.from_bytes(file.read(1)) >> 4 & 7 in (OFFSET_DELTA, REF_DELTA)

    def _require_whole(self, pack: IO[bytes], size: int, checksum: bytes) -> None:
        left = size - _SHA1_BYTES
        digest = hashlib.sha1(usedforsecurity=False)
        while piece := pack.read(min(left, SharingBounds.piece_bytes)):
            digest.update(piece)
            left -= len(piece)
            give_way()
        if left or not digest.digest() == pack.read() == checksum:
            raise ValueError("it is damaged")

    def _opened(self, name: str) -> os.stat_result:
        with open(self._folder / name, "rb", opener=regular) as file:
            return os.fstat(file.fileno())

    def _is_sound(self, name: str) -> bool:
        """Whether the index is what was written, and the pack begins and ends as the one that it is of.

        libgit2 passes over a pack that does not. What is damaged between, it notices when it reads it.
        """
        index = read_regular(self._folder / f"{name}.idx")
        with open(self._folder / f"{name}.pack", "rb", opener=regular) as pack:
            first = pack.read(HEADER_BYTES)
            pack.seek(-_SHA1_BYTES, os.SEEK_END)
            last = pack.read()
        objects = index[FANOUT_END - 4 : FANOUT_END]
        return (
            _ends_in_its_checksum(index)
            and first == pack_header(int.from_bytes(objects))
            and last == index[-2 * _SHA1_BYTES : -_SHA1_BYTES]
        )

    def _listed(self) -> dict[str, Sizes]:
        return {
            path.stem: (path.with_suffix(".pack").stat().st_size, path.stat().st_size)
            for path in self._folder.glob("pack-*.idx")
            if path.stem not in self._replaced
        }


def _in_order(numbers: Sequence[int], offsets: array[int], low: int, high: int) -> Iterator[int]:
    """Yield numbers of objects in the order of their offsets, which are from ``low`` on and below ``high``.

    Some at a time are sorted: what sorts keeps Python's lock.
    """
    if len(numbers) <= _SORTED_AT_ONCE or high - low <= _SORTED_AT_ONCE:
        give_way()
        yield from sorted(numbers, key=offsets.__getitem__)
        return
    width = -(-(high - low) // _PARTS)
    parts = [array(offsets.typecode) for _ in range(_PARTS)]
    for number in numbers:
        parts[(offsets[number] - low) // width].append(number)
    for place in range(_PARTS):
        part, parts[place] = parts[place], array(offsets.typecode)  # what was passed is not kept
        yield from _in_order(part, offsets, low + place * width, low + (place + 1) * width)


def _ends_in_its_checksum(data: bytes) -> bool:
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in pieces(memoryview(data)[:-_SHA1_BYTES]):
        digest.update(piece)
    return digest.digest() == data[-_SHA1_BYTES:]


def _is_well_formed(index: bytes) -> bool:
    """Whether libgit2 takes an index as one (of version 2): where it does not open this one, the machine is why."""
    if index[:FANOUT_BEGIN] != _INDEX_MAGIC or len(index) < FANOUT_END + 2 * _SHA1_BYTES:
        return False
    fanout = struct.unpack_from(">256I", index, FANOUT_BEGIN)
    least = FANOUT_END + fanout[-1] * (_SHA1_BYTES + 2 * _CRC_BYTES) + 2 * _SHA1_BYTES
    is_of_its_size = least <= len(index) <= least + 8 * max(0, fanout[-1] - 1)
    return is_of_its_size and all(before <= after for before, after in pairwise(fanout))
