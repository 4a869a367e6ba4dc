"""The bytes of one object of a journal: its header is held against the rules before the rest is asked for.

What is no entry by its header costs one small read, however large it is. Of one that was listed no more is read than
was listed: from that follows how much may be on its way at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from memrepo.limits import MIB
from memrepo_worker.journal.entry import (
    HEAD_BYTES,
    Entry,
    JournalDamagedError,
    JournalUnreadableError,
    decode_entry,
    decode_head,
)
from memrepo_worker.store.interface import (
    NotThereError,
    ObjectTooLargeError,
    Pin,
    Store,
    StoredRange,
    UnavailableError,
)
from memrepo_worker.store.streams import PIECE_BYTES, pieces
from memrepo_worker.threads.giving_way import joined

AT_ONCE_BYTES_MAX = MIB
"""What is listed with no more is read in one request; of what has more the header comes first, which is one more."""

_JOINED_BYTES_MAX = 16 * MIB
"""What has no more is put together without Python's lock, for which it is in memory three times for a moment."""


class ListedOtherwiseError(JournalDamagedError):
    """An object has other bytes than were listed: another is in its place by now, or it is damaged. List it again."""

    @classmethod
    def of(cls, key: str, seq: int, listed: int, found: int | None) -> ListedOtherwiseError:
        """Return the error for an object that is listed with so many bytes; ``found`` is None for more of them."""
        has = "more" if found is None else str(found)
        return cls(f"{key} is listed with {listed} bytes, and has {has}", seq)


def read_entry(store: Store, key: str, seq: int, size: int) -> Entry | None:
    """Return what an object holds, which is listed with ``size`` bytes; None where it has none.

    Raises:
        NotThereError: it is not there, or was replaced meanwhile.
        ListedOtherwiseError: it has other bytes than so many; no more than these were read.
        NewerJournalError, JournalDamagedError: as ``decode_entry``; by its header, before the rest is read.
    """
    data = read_bytes(store, key, seq, size)
    return decode_entry(seq, data) if data else None


def read_bytes(store: Store, key: str, seq: int, size: int) -> bytes | memoryview:
    """Return the bytes of an object that is listed with ``size``, or none: it is a marker by now.

    Raises what ``read_entry`` does. Of one that is small nothing is looked at.
    """
    if size <= AT_ONCE_BYTES_MAX:
        try:
            data = store.get(key, size).data
        except ObjectTooLargeError as error:
            raise ListedOtherwiseError.of(key, seq, size, error.size) from error
        if len(data) not in (0, size):
            raise ListedOtherwiseError.of(key, seq, size, len(data))
        return data
    # Only a view of it: what is behind the header is taken out without another copy.
    if size <= _JOINED_BYTES_MAX:
        return memoryview(joined([*_pieces_of(store, key, seq, size, size)]))
    found = bytearray()
    for piece in _pieces_of(store, key, seq, size, PIECE_BYTES):
        found += piece
    return memoryview(found).toreadonly()


def read_head(store: Store, key: str, seq: int, size: int) -> StoredRange:
    """Return the beginning of an object that is listed with ``size``, in which its header is; or that it has no bytes.

    Raises what ``read_entry`` does.
    """
    found = store.get_range(key, 0, min(HEAD_BYTES, size))
    if found.size not in (0, size):
        raise ListedOtherwiseError.of(key, seq, size, found.size)
    if found.size:
        decode_head(seq, found.data)
    return found


def read_range(store: Store, key: str, start: int, size: int, pin: Pin) -> bytes:
    """Return so many bytes of the state of an object of which ``read_head`` has told the pin.

    Raises:
        NotThereError: it was replaced meanwhile.
        UnavailableError: the store gives fewer.
    """
    data = store.get_range(key, start, size, pin).data
    if len(data) != size:
        raise UnavailableError(f"of {key} the store gives {len(data)} bytes from {start} on, and not {size}")
    return data


def _pieces_of(store: Store, key: str, seq: int, size: int, piece_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of an object that is listed with ``size`` as ``checked_pieces`` does: so many, or none."""
    read = 0
    try:
        for piece in checked_pieces(store, key, seq, size, piece_bytes):
            read += len(piece)
            yield piece
    except ObjectTooLargeError as error:
        raise ListedOtherwiseError.of(key, seq, size, error.size) from error
    if read not in (0, size):
        raise ListedOtherwiseError.of(key, seq, size, read)


def checked_pieces(store: Store, key: str, seq: int, bytes_max: int, piece_bytes: int) -> Iterator[bytes]:
    """Yield an object's bytes as ``store.streams.pieces`` does; the first are those that its header may have.

    Raises:
        NewerJournalError, JournalDamagedError: its header is none; no more was asked for, and nothing was yielded.
    """
    found = pieces(store, key, bytes_max, piece_bytes, HEAD_BYTES)
    first = next(found)
    if first:
        decode_head(seq, first)
    yield first
    yield from found


def has_bytes(store: Store, key: str, seq: int, data_sha256: str, bytes_max: int) -> bool:
    """Whether an entry is there that has exactly these bytes, given by their SHA-256."""
    digest = hashlib.sha256()
    try:
        for piece in checked_pieces(store, key, seq, bytes_max, PIECE_BYTES):
            digest.update(piece)
    except (NotThereError, ObjectTooLargeError, JournalUnreadableError):
        return False
    return digest.hexdigest() == data_sha256
