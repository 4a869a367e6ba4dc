"""A store in this process's memory: for tests, and for users' own tests."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator

from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    NotThereError,
    ObjectTooLargeError,
    Pin,
    PreconditionFailedError,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.store.meanwhile import request_sent


class MemoryStore:
    """Keeps objects in a dictionary, as safe among threads as a real store is among processes."""

    name = "memory://"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._marks = itertools.count(1)

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        try:
            stored = self._objects[key]
        except KeyError:
            raise NotThereError(key) from None
        if len(stored.data) > bytes_max:
            raise ObjectTooLargeError(key, bytes_max, len(stored.data))
        return stored

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        stored = self._objects.get(key)
        if stored is None or (pin is not None and pin.mark != stored.version.mark):
            raise NotThereError(key)
        return StoredRange(stored.data[start : start + bytes_max], len(stored.data), Pin(stored.version.mark))

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        request_sent()
        with self._lock:
            if not _holds(when, self._objects.get(key)):
                raise PreconditionFailedError(key)
            stored = StoredObject(bytes(data), Version(str(next(self._marks))))
            self._objects[key] = stored
            return stored.version

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        return self.put(key, b"".join(parts), when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects as they are when the first one is asked for."""
        with self._lock:
            objects = dict(self._objects)
        for key in sorted(key for key in objects if key.startswith(prefix) and key > start_after):
            yield ListedObject(key, len(objects[key].data))

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        folder = prefix[: prefix.rfind("/") + 1]
        with self._lock:
            keys = [key for key in self._objects if key.startswith(prefix) and "/" in key[len(folder) :]]
        names = sorted({key[len(folder) :].partition("/")[0] for key in keys}, key=lambda name: f"{name}/")
        left = [name for name in names if not after or f"{name}/" > f"{after}/"]
        return FolderPage(left[:names_max], len(left) > names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        for key in keys:
            with self._lock:
                self._objects.pop(key, None)


def _holds(when: When, present: StoredObject | None) -> bool:
    if when is ALWAYS:
        return True
    if when is ABSENT:
        return present is None
    return present is not None and present.version == when
