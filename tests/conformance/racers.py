"""Writers that race for one key: threads of one process, and processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing.synchronize import Barrier

from memrepo_worker.store.open import open_store
from memrepo_worker.store.seam import ABSENT, PreconditionFailedError, Store, UnavailableError, When

PROCESSES = 4
_at_once: list[Barrier] = []


def join_races(barrier: Barrier) -> None:
    """Tell this process where all racers wait for each other."""
    _at_once.append(barrier)


@dataclass(frozen=True)
class Race:
    """A create of one key by every process at the same moment; each has a body of its own."""

    address: str
    key: str

    def __call__(self, number: int) -> bool:
        """Take part, in one of the processes, and tell whether this one won."""
        store = _opened(self.address)
        _at_once[0].wait(timeout=30)
        return wins(store, self.key, body_of(number), ABSENT)


@cache
def _opened(address: str) -> Store:
    return open_store(address)


def body_of(number: int) -> bytes:
    """Return a body that tells who wrote it."""
    return f"written by {number}\n".encode() * 50


def race_threads(store: Store, key: str, when: When, racers: int) -> list[bool]:
    """Let threads put one key at the same moment, and tell who won."""
    barrier = threading.Barrier(racers)

    def put(number: int) -> bool:
        barrier.wait(timeout=30)
        return wins(store, key, body_of(number), when)

    with ThreadPoolExecutor(racers) as threads:
        return list(threads.map(put, range(racers)))


def wins(store: Store, key: str, body: bytes, when: When) -> bool:
    """Put as the journal does: when the store does not say what became of it, read back."""
    try:
        store.put(key, body, when)
    except PreconditionFailedError:
        return False
    except UnavailableError:
        return store.get(key).data == body
    return True


Racing = Callable[[Race], list[bool]]
