"""A store that tries again what is safe to try again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TypeVar

from memrepo.clock import Backoff, Clock, steady_clock
from memrepo_worker.observe import store_wait
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ALWAYS,
    GET_BYTES_MAX,
    FolderPage,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    UnavailableError,
    Version,
    When,
)

Answer = TypeVar("Answer")

BACKOFF = Backoff(first_s=0.1, max_s=2.0, jitter=1.0)
_LONG_S = 1.0
"""A try that failed after longer than this is not followed by another at once."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a store is asked, and how long to wait between: any time up to the pause, so that waiters part."""

    attempts_max: int = 4
    backoff: Backoff = BACKOFF


class RetryingStore(StoreDecorator):
    """Tries reads, deletes and unconditional puts again while the store is unavailable, a bounded number of times.

    A conditional put is handed on once: its first attempt may have succeeded, and then a second one would meet the
    object and seem to have lost. Who asked for it settles it, by reading back. An unconditional put may land late,
    over what came after it; callers write with it only what is the same whoever writes it.
    """

    def __init__(
        self,
        store: Store,
        random: Random,
        policy: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = steady_clock,
    ) -> None:
        super().__init__(store)
        self._random = random
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._clock = clock

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        return self._retried(lambda: self._store.get(key, bytes_max))

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object; so a reading that breaks goes on where it was."""
        return self._retried(lambda: self._store.get_range(key, start, bytes_max, pin))

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds; only a put without condition is tried again."""
        if when is ALWAYS:
            return self._retried(lambda: self._store.put(key, data, when))
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, no further ahead than the store below does.

        A listing that breaks is begun anew; what was yielded is passed over, so that none comes twice. It is not begun
        after the last object: across folders the order is the store's own, and something might be left out.
        """
        folder = prefix[: prefix.rfind("/") + 1]
        last, passed_over = start_after, start_after
        elsewhere: set[str] = set()
        objects: Iterator[ListedObject] | None = None

        def following() -> ListedObject | None:
            nonlocal objects, passed_over
            try:
                if objects is None:
                    objects = self._store.list(prefix, start_after)
                return next(objects, None)
            except UnavailableError:
                objects, passed_over = None, last  # one that has failed would only say that it is at its end
                raise

        failures = count(1)
        while (item := self._retried(following, failures)) is not None:
            if "/" not in item.key[len(folder) :]:  # those of one folder come in order
                if item.key <= passed_over:
                    continue
                last = item.key
            elif item.key in elsewhere:
                continue
            else:
                elsewhere.add(item.key)
            yield item

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder."""
        return self._retried(lambda: self._store.folders(prefix, after, names_max))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects."""
        names = [*keys]
        self._retried(lambda: self._store.delete(names))

    def _retried(self, ask: Callable[[], Answer], failures: Iterator[int] | None = None) -> Answer:
        """Return the answer; ``failures`` counts those of several calls that share their tries."""
        counted = count(1) if failures is None else failures
        while True:
            began_s = self._clock()
            try:
                return ask()
            except UnavailableError:
                failed = next(counted)
                if failed >= self._policy.attempts_max or self._clock() - began_s > _LONG_S:
                    raise  # who asked sets it aside: a thread must not hang in one try after another
            with store_wait():
                self._sleep(self._policy.backoff.pause_s(failed, self._random))
