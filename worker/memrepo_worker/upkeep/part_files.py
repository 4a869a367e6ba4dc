"""The parts of a journal on disk while they are joined: what their headers say, and where in a file each pack lies.

Of what is large only a piece at a time is in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.git.packs import HEADER_BYTES, TRAILER_BYTES, object_count, object_count_in
from memrepo_worker.journal.entry import (
    HEAD_BYTES,
    Head,
    JournalDamagedError,
    decode_entry,
    decode_head,
)
from memrepo_worker.journal.entry_files import PackFile, joined, read_pieces
from memrepo_worker.journal.reading.contents import checked_pieces
from memrepo_worker.store.interface import ObjectTooLargeError, Store

PART_BYTES_MAX = 8 * MIB
"""What is larger is never whole in memory."""


@dataclass(frozen=True, slots=True)
class Part:
    """An entry, base or segment."""

    head: Head
    pack: PackFile

    @classmethod
    def of(cls, seq: int, path: Path) -> Part:
        """Return what lies in a file, a bundle; that its pack is whole is seen by who reads it.

        Raises:
            NewerJournalError, JournalDamagedError: as ``decode_entry``.
        """
        with path.open("rb") as file:
            head = decode_head(seq, file.read(HEAD_BYTES))
            file.seek(head.pack_start)
            beginning = file.read(HEADER_BYTES)
        size = path.stat().st_size - head.pack_start
        try:
            return cls(head, PackFile(path, head.pack_start, size, object_count_in(beginning, size)))
        except ValueError as error:
            raise JournalDamagedError(f"entry {seq} is no bundle: {error}", seq) from error


def read_head(store: Store, key: str, seq: int, bytes_max: int) -> Head:
    """Return what the header of an entry or base says, of which no more is read; one that has no bytes is a marker.

    Raises:
        NotThereError, ObjectTooLargeError: it is not there, or larger than ``bytes_max``.
        NewerJournalError, JournalDamagedError: as ``decode_entry``.
    """
    found = store.get_range(key, 0, HEAD_BYTES)
    if found.size > bytes_max:
        raise ObjectTooLargeError(key, bytes_max, found.size)
    _require_bytes(seq, found.size)
    return decode_head(seq, found.data)


def fetch(store: Store, key: str, seq: int, bytes_max: int, path: Path) -> Part:
    """Write what lies under a key into a file, piece by piece, and return it; it is whole.

    Raises:
        NotThereError, ObjectTooLargeError, NewerJournalError, JournalDamagedError: as ``read_head``.
    """
    with path.open("wb") as file:
        for piece in checked_pieces(store, key, seq, bytes_max, PART_BYTES_MAX):
            file.write(piece)
    part = Part.of(seq, path)
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in read_pieces(path, part.pack.start, part.pack.size - TRAILER_BYTES):
        digest.update(piece)
    if digest.digest() != b"".join(read_pieces(path, path.stat().st_size - TRAILER_BYTES, TRAILER_BYTES)):
        raise JournalDamagedError(f"entry {seq} has a pack whose checksum is wrong", seq)
    return part


class Spool:
    """A file into which small parts are written, one after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._end = 0

    def add(self, seq: int, data: bytes | memoryview) -> Part:
        """Add a part's pack, and return where it lies; one that has no bytes is a marker.

        Raises:
            NewerJournalError, JournalDamagedError: as ``decode_entry``.
        """
        _require_bytes(seq, len(data))
        entry = decode_entry(seq, data)
        pack = PackFile(self._path, self._end, len(entry.pack), object_count(entry.pack))
        self._file.write(entry.pack)
        self._end += pack.size
        return Part(entry.head, pack)

    def close(self) -> None:
        """Have all of it in the file."""
        self._file.close()


def join_in_file(packs: Sequence[PackFile], path: Path) -> None:
    """Write one pack with the objects of all."""
    with path.open("wb") as file:
        for piece in joined(packs):
            file.write(piece)


def _require_bytes(seq: int, size: int) -> None:
    if not size:
        raise JournalDamagedError(f"entry {seq} is a marker: the memory is being deleted", seq)
