"""Reading a large object piece by piece, so that no more than one piece of it is in memory."""

from __future__ import annotations

from collections.abc import Iterator

from memrepo_worker.store.interface import (
    NotThereError,
    ObjectTooLargeError,
    Pin,
    Store,
    StoredRange,
    UnavailableError,
)

PIECE_BYTES = 8 << 20
"""So much of an object is asked for at a time: enough that a request's way hardly counts."""


def pieces(
    store: Store, key: str, bytes_max: int, piece_bytes: int = PIECE_BYTES, first_bytes: int | None = None
) -> Iterator[bytes]:
    """Yield the bytes of one state of an object, in order, up to ``piece_bytes`` at a time, at least one piece.

    The first has ``first_bytes``, where that is given: who looks at it, and stops, has asked for no more.

    Each piece is a request of its own: one that fails is asked for again by a store that retries, and none is held up
    by who takes long over the piece before it. An object of one piece is one request.

    Raises:
        NotThereError: there is none; or, after the first piece, it was replaced: what was yielded is of no use.
        ObjectTooLargeError: it has more than ``bytes_max``; nothing was yielded.
        UnavailableError, RefusedError: as ``Store.get``, also after some pieces; or it ends before its end.
    """
    found = store.get_range(key, 0, min(first_bytes or piece_bytes, bytes_max))
    if found.size > bytes_max:
        raise ObjectTooLargeError(key, bytes_max, found.size)
    yield found.data
    start = len(found.data)
    while start < found.size:
        data = store.get_range(key, start, piece_bytes, found.pin).data
        if not data:
            raise UnavailableError(
                f"{key} has {found.size} bytes, and from {start} on the store gives none of them"
            )
        yield data
        start += len(data)


def range_that_is_none(store: Store, key: str, start: int, bytes_max: int, pin: Pin | None) -> StoredRange:
    """Return the range of an object of which it was answered that it has no bytes there, as far as that is so.

    Of no bytes there is no range: then that is all of the object. What stands before a store may answer the same, with
    whatever is behind it; so the object itself is asked.

    Raises:
        NotThereError: there is none; or it was replaced by one that has no bytes there.
        UnavailableError: it has bytes there.
    """
    lie = UnavailableError(f"{key} has bytes from {start} on, and it was answered that it has none")
    if start:
        found = store.get_range(key, 0, 1)
        if found.size > start and pin in (None, found.pin):
            raise lie
        raise NotThereError(f"{key} has no bytes from {start} on: it was replaced")
    try:
        whole = store.get(key, bytes_max)
    except ObjectTooLargeError:
        raise lie from None
    if pin is not None and pin.mark != whole.version.mark:
        raise NotThereError(f"{key} was replaced")
    return StoredRange(whole.data, len(whole.data), Pin(whole.version.mark))
