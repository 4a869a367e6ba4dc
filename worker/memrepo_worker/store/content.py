"""What is put into a store: bytes in memory, or a file, of which only a piece at a time is read into it."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from memrepo_worker.store.interface import ObjectTooLargeError, Store
from memrepo_worker.store.streams import pieces

_PIECE_BYTES = 1 << 20

Content = bytes | Path


def size_of(content: Content) -> int:
    """Return how many bytes it has."""
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def pieces_of(content: Content) -> Iterator[bytes]:
    """Yield its bytes."""
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def is_under(store: Store, key: str, content: Content) -> bool:
    """Whether what lies under a key is this content.

    Raises:
        NotThereError: nothing does.
        UnavailableError, RefusedError: as ``store.streams.pieces``.
    """
    ours = pieces_of(content)
    try:
        return all(
            piece == next(ours, b"") for piece in pieces(store, key, size_of(content), _PIECE_BYTES)
        ) and not next(ours, b"")
    except ObjectTooLargeError:
        return False
