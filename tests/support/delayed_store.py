"""A store that is far away: for tests and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from memrepo.clock import Clock, steady_clock
from memrepo_worker.store.decorators.base import StoreDecorator
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
from memrepo_worker.store.meanwhile import request_sent


class DelayedStore(StoreDecorator):
    """Delays every request by the same time, before it is done; requests of several threads overlap.

    A put is on its way meanwhile: what is to be done until its answer is there, is done in that time.
    """

    def __init__(
        self,
        store: Store,
        delay_s: float,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = steady_clock,
    ) -> None:
        super().__init__(store)
        self._delay_s = delay_s
        self._sleep = sleep
        self._clock = clock

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        self._sleep(self._delay_s)
        return self._store.get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        self._sleep(self._delay_s)
        return self._store.get_range(key, start, bytes_max, pin)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        self._sleep(self._delay_s)
        return self._store.put_stream(key, parts, when)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        began_s = self._clock()
        request_sent(lambda: self._clock() - began_s >= self._delay_s)
        self._sleep(max(0.0, self._delay_s - (self._clock() - began_s)))
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        self._sleep(self._delay_s)
        yield from self._store.list(prefix, start_after)

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        self._sleep(self._delay_s)
        return self._store.folders(prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._sleep(self._delay_s)
        self._store.delete(keys)
