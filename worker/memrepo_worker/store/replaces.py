"""Does a store honour conditional replaces? Folding rests on them, and nothing else does.

A store that replaces an object although it is no longer the version that was named would let a folder that was paused
put content back which a delete has removed. Such a store serves memories well, but they are not folded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from memrepo_worker.store.interface import (
    ABSENT,
    NotThereError,
    ObjectTooLargeError,
    PreconditionFailedError,
    Store,
    StoreError,
    UnavailableError,
    Version,
)
from memrepo_worker.store.probe import PREFIX

RACERS = 8


def fault_of_replaces(store: Store, new_id: Callable[[], str]) -> str | None:
    """Try conditional replaces out, and clean up; say what is wrong with them, or None.

    Raises:
        UnavailableError, RefusedError: they could not be tried out.
    """
    key = f"{PREFIX}{new_id()}-replace"
    try:
        return _fault_in_turn(store, key) or _fault_in_a_race(store, key)
    finally:
        with suppress(StoreError):
            store.delete([key])


def _fault_in_turn(store: Store, key: str) -> str | None:
    first = store.put(key, b"first", ABSENT)
    second = store.put(key, b"second", first)
    if _is_replaced(store, key, b"third", first):
        return "a put on condition of a version replaces another version"
    if not _is_still(store, key, b"second"):
        return "a put on condition of a version that failed changed the object"
    store.delete([key])
    if _is_replaced(store, key, b"fourth", second) or _is_there(store, key):
        return "a put on condition of a version brings back an object that was removed"
    return None


def _fault_in_a_race(store: Store, key: str) -> str | None:
    version = store.put(key, b"raced for", ABSENT)
    start = threading.Barrier(RACERS)

    def race(number: int) -> bool:
        start.wait()
        with suppress(UnavailableError):
            return _is_replaced(store, key, b"racer %d" % number, version)
        return False

    with ThreadPoolExecutor(RACERS) as threads:
        winners = sum(threads.map(race, range(RACERS)))
    return f"{winners} of {RACERS} racing puts on condition of one version succeeded" if winners > 1 else None


def _is_replaced(store: Store, key: str, data: bytes, when: Version) -> bool:
    try:
        store.put(key, data, when)
    except PreconditionFailedError:
        return False
    return True


def _is_still(store: Store, key: str, data: bytes) -> bool:
    try:
        return store.get(key, len(data)).data == data
    except ObjectTooLargeError:
        return False


def _is_there(store: Store, key: str) -> bool:
    try:
        store.get(key, 0)
    except NotThereError:
        return False
    except ObjectTooLargeError:
        pass
    return True
