"""Reading an object that is too large for memory: through a file that nobody else sees, and that ends with its use."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from typing import IO

from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store
from memrepo_worker.store.streams import PIECE_BYTES, pieces

OpenFile = Callable[[], IO[bytes]]
"""Opens a new file without a name, where there is room for it."""


def sha256_of_object(store: Store, key: str, bytes_max: int) -> str | None:
    """Return the SHA-256 of an object's bytes, None where it is not there or has more."""
    digest = hashlib.sha256()
    try:
        for piece in pieces(store, key, bytes_max):
            digest.update(piece)
    except (NotThereError, ObjectTooLargeError):
        return None
    return digest.hexdigest()


def spooled(store: Store, key: str, bytes_max: int, open_file: OpenFile, memory_bytes_max: int) -> memoryview:
    """Return the bytes of one state of an object; they lie in a file, and no more of them in memory than is said.

    As the file has no name, nobody can cut it under its readers, and it is gone with the last view of it.

    Raises:
        NotThereError, ObjectTooLargeError, UnavailableError, RefusedError: as ``store.streams.pieces``.
        OSError: the disk does not take it.
    """
    with open_file() as file:
        for piece in pieces(store, key, bytes_max, min(PIECE_BYTES, memory_bytes_max)):
            file.write(piece)
        file.flush()
        size = file.tell()
        return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b"")
