"""A store that counts what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from memrepo_worker.observe import Observer, store_wait
from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.tracing import BYTES, step

if TYPE_CHECKING:
    from opentelemetry.trace import Span

LISTED_PER_REQUEST = 1000
"""How many objects S3 and GCS list for one request."""


class MeteredStore:
    """Counts requests and bytes by operation, and rounds, to an observer.

    ``store.{get,put,list,delete}.requests`` count calls (of a listing, its pages), also those that fail;
    ``store.get.bytes`` and ``store.put.bytes`` what was read and written. ``store.rounds`` counts how often a
    request began while no other was under way: requests that overlap share a round. (A store that answers at once
    lets nothing overlap: put a ``DelayedStore`` below where rounds are compared.)
    """

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._lock = threading.Lock()
        self._under_way = 0

    @property
    def name(self) -> str:
        """The store's address."""
        return self._store.name

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        with self._request("get") as span:
            stored = self._store.get(key, bytes_max)
            if span is not None:
                span.set_attribute(BYTES, len(stored.data))
        self._observer.count("store.get.bytes", len(stored.data))
        return stored

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object; each range is a get."""
        with self._request("get") as span:
            found = self._store.get_range(key, start, bytes_max, pin)
            if span is not None:
                span.set_attribute(BYTES, len(found.data))
        self._observer.count("store.get.bytes", len(found.data))
        return found

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        with self._request("put") as span:
            if span is not None:
                span.set_attribute(BYTES, len(data))
            version = self._store.put(key, data, when)
        self._observer.count("store.put.bytes", len(data))
        return version

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds; it is one put, however many parts there are."""
        with self._request("put"):
            return self._store.put_stream(key, self._counted(parts), when)

    def _counted(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self._observer.count("store.put.bytes", len(part))
            yield part

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, read in pages as S3 and GCS do; each page is a request."""
        objects = self._store.list(prefix, start_after)
        while True:
            with self._request("list"):
                page = [*islice(objects, LISTED_PER_REQUEST)]
            yield from page
            if len(page) < LISTED_PER_REQUEST:
                return

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder; it is a list."""
        with self._request("list"):
            return self._store.folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        with self._request("delete"):
            self._store.delete(keys)

    @contextmanager
    def _request(self, operation: str) -> Iterator[Span | None]:
        self._observer.count(f"store.{operation}.requests")
        with self._lock:
            if self._under_way == 0:
                self._observer.count("store.rounds")
            self._under_way += 1
        try:
            with store_wait(), step(f"store {operation}") as span:
                yield span
        finally:
            with self._lock:
                self._under_way -= 1
