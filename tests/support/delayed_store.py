"""A store that is far away: for tests and benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ListedObject, Store, StoredObject, Version, When


class DelayedStore(StoreDecorator):
    """Delays every request by the same time, before it is done; requests of several threads overlap."""

    def __init__(self, store: Store, delay_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(store)
        self._delay_s = delay_s
        self._sleep = sleep

    def get(self, key: str) -> StoredObject:
        """Return the object."""
        self._sleep(self._delay_s)
        return self._store.get(key)

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        self._sleep(self._delay_s)
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects."""
        self._sleep(self._delay_s)
        yield from self._store.list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        self._sleep(self._delay_s)
        self._store.delete(keys)
