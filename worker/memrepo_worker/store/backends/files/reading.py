"""Reading an object's file: bounded, in parts, and as the state that it is."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

from memrepo_worker.store.interface import (
    NotThereError,
    ObjectTooLargeError,
    Pin,
    StoredObject,
    StoredRange,
    Version,
)

_CHUNK_BYTES = 1 << 20


def read_whole(key: str, file: BinaryIO, bytes_max: int) -> StoredObject:
    """Return an object.

    Raises:
        ObjectTooLargeError: the file has more bytes.
    """
    size = os.fstat(file.fileno()).st_size
    if size > bytes_max:
        raise ObjectTooLargeError(key, bytes_max, size)
    data = file.read(size)
    return StoredObject(data, Version(hashlib.sha256(data).hexdigest()))


def read_range(key: str, file: BinaryIO, start: int, bytes_max: int, pin: Pin | None) -> StoredRange:
    """Return some bytes of an object.

    Raises:
        NotThereError: it is another one than ``pin`` says.
    """
    status = os.fstat(file.fileno())
    # An object's file is never changed, another one gets its name: its number, size and time tell them apart.
    found = Pin(f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")
    if pin is not None and pin != found:
        raise NotThereError(f"{key} was replaced")
    file.seek(start)
    return StoredRange(file.read(min(bytes_max, max(status.st_size - start, 0))), status.st_size, found)


def version_of(file: BinaryIO) -> Version:
    """Return the version of what a file holds, whatever its size."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return Version(digest.hexdigest())
