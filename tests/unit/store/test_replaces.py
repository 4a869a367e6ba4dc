from __future__ import annotations

import threading
from itertools import count

import pytest

from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    PreconditionFailedError,
    Store,
    Version,
    When,
)
from memrepo_worker.store.replaces import RACERS, fault_of_replaces
from tests.support.faulty_store import IgnoringStore

_NUMBERS = count()


def new_id() -> str:
    return f"try-{next(_NUMBERS)}"


class BringingBackStore(StoreDecorator):
    """Takes a condition on a version as held where nothing is."""

    def put(self, key: str, data: bytes, when: When) -> Version:
        try:
            return self._store.put(key, data, when)
        except PreconditionFailedError:
            if next(iter(self._store.list(key)), None) is None:
                return self._store.put(key, data, ALWAYS)
            raise


class WritingAnywayStore(StoreDecorator):
    """Says that the condition did not hold, and writes."""

    def put(self, key: str, data: bytes, when: When) -> Version:
        try:
            return self._store.put(key, data, when)
        except PreconditionFailedError:
            self._store.put(key, data, ALWAYS)
            raise


class ComparingFirstStore(StoreDecorator):
    """Compares, then writes: honours the condition, but not in one step."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._all_compared = threading.Barrier(RACERS)

    def put(self, key: str, data: bytes, when: When) -> Version:
        if isinstance(when, Version):
            try:
                if self._store.get(key).version != when:
                    raise PreconditionFailedError(key)
            except NotThereError:
                raise PreconditionFailedError(key) from None
            if data.startswith(b"racer"):
                self._all_compared.wait(timeout=10)
            return self._store.put(key, data, ALWAYS)
        return self._store.put(key, data, when)


@pytest.mark.parametrize(
    ("store", "fault"),
    [
        (IgnoringStore, "replaces another version"),
        (WritingAnywayStore, "changed the object"),
        (BringingBackStore, "brings back an object that was removed"),
        (ComparingFirstStore, f"{RACERS} of {RACERS} racing puts"),
    ],
)
def test_a_store_that_does_not_honour_them_is_told_by_what_it_does(
    store: type[StoreDecorator], fault: str
) -> None:
    memory = MemoryStore()

    assert fault in str(fault_of_replaces(store(memory), new_id))
    assert list(memory.list("")) == []


def test_one_that_does_is_left_as_it_was() -> None:
    memory = MemoryStore()
    memory.put("acme/entry", b"x", ABSENT)

    assert fault_of_replaces(memory, new_id) is None
    assert [item.key for item in memory.list("")] == ["acme/entry"]
