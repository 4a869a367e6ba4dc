"""A store that refuses some agents, or does not answer for them, while it serves the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    PlaceBrokenError,
    RefusedError,
    Store,
    StoredObject,
    StoredRange,
    UnavailableError,
    Version,
    When,
)

HANGS_S = 30.0
"""So long a client of a cloud waits for an answer that does not come."""


class RefusingStore(StoreDecorator):
    """Does so for the keys that begin with what a file says: ``refuses PREFIX``, ``hangs PREFIX``, ``breaks PREFIX``.

    The file is read at each request, so that a test can change its mind; none refuses nobody.
    """

    def __init__(
        self, store: Store, file: Path, hangs_s: float = HANGS_S, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(store)
        self._file = file
        self._hangs_s = hangs_s
        self._sleep = sleep

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        self._look(key)
        return self._store.get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        self._look(key)
        return self._store.get_range(key, start, bytes_max, pin)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        self._look(key)
        return self._store.put_stream(key, parts, when)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        self._look(key)
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        self._look(prefix)
        yield from self._store.list(prefix, start_after)

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        self._look(prefix)
        return self._store.folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        wanted = list(keys)
        for key in wanted:
            self._look(key)
        self._store.delete(wanted)

    def _look(self, key: str) -> None:
        if not self._file.exists():
            return
        for line in self._file.read_text().splitlines():
            what, _, prefix = line.partition(" ")
            if key.startswith(prefix):
                if what == "hangs":
                    self._sleep(self._hangs_s)
                    raise UnavailableError("no answer in time")
                if what == "breaks":
                    raise PlaceBrokenError("input/output error (EIO)")
                raise RefusedError("403: not yours")
