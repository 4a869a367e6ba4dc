"""A store in this process's memory: for tests, and for users' own tests."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator

from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    ListedObject,
    NotThereError,
    PreconditionFailedError,
    StoredObject,
    Version,
    When,
)


class MemoryStore:
    """Keeps objects in a dictionary, as safe among threads as a real store is among processes."""

    name = "memory://"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._marks = itertools.count(1)

    def get(self, key: str) -> StoredObject:
        """Return the object."""
        try:
            return self._objects[key]
        except KeyError:
            raise NotThereError(key) from None

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        with self._lock:
            if not _holds(when, self._objects.get(key)):
                raise PreconditionFailedError(key)
            stored = StoredObject(bytes(data), Version(str(next(self._marks))))
            self._objects[key] = stored
            return stored.version

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects as they are when the first one is asked for."""
        with self._lock:
            objects = dict(self._objects)
        for key in sorted(key for key in objects if key.startswith(prefix) and key > start_after):
            yield ListedObject(key, len(objects[key].data))

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
