from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import pytest

from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.decorators.metering import MeteredStore
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    ListedObject,
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    Store,
    StoredObject,
    UnavailableError,
    Version,
    When,
)
from memrepo_worker.store.probe import (
    LEFT_OVER_AGE_S,
    PREFIX,
    RACERS,
    VERDICT_AGE_S_MAX,
    VERDICTS,
    UnsafeStoreError,
    check_lifecycle,
    probe,
    probe_daily,
)
from tests.support.faulty_store import Fault, FaultyStore, IgnoringStore, Operation, seeded


class CheckingFirstStore(StoreDecorator):
    """Looks whether the key is free, then writes: honours the condition, but not in one step."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._both_looked = threading.Barrier(RACERS)

    def put(self, key: str, data: bytes, when: When) -> Version:
        if when is ABSENT:
            if next(self._store.list(key), None) is not None:
                raise PreconditionFailedError(key)
            if key.endswith("-race"):
                self._both_looked.wait(timeout=10)
        return self._store.put(key, data, ALWAYS if when is ABSENT else when)


class RememberingMissesStore(StoreDecorator):
    """A cache before the store keeps that a key was not there."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._missed: set[str] = set()

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        if key in self._missed:
            raise NotThereError(key)
        try:
            return self._store.get(key, bytes_max)
        except NotThereError:
            self._missed.add(key)
            raise


class ListingLateStore(StoreDecorator):
    """Lists what was there when it was opened: eventual consistency."""

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        return iter(())


class ListingOtherSizesStore(StoreDecorator):
    """Lists how much it keeps, where it keeps more than it gives: encrypted by a proxy, say."""

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        return (ListedObject(item.key, item.size + 16) for item in super().list(prefix, start_after))


class ServingOldBytesStore(StoreDecorator):
    """Keeps the first bytes it served of a key."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._served: dict[str, StoredObject] = {}

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        return self._served.setdefault(key, self._store.get(key, bytes_max))


class KeepingTheLoserStore(StoreDecorator):
    """Says who won, and keeps what another wrote."""

    def put(self, key: str, data: bytes, when: When) -> Version:
        version = self._store.put(key, data, when)
        if when is ABSENT and key.endswith("-race"):
            self._store.put(key, b"of nobody", ALWAYS)
        return version


@pytest.mark.parametrize(
    ("unsafe", "rule"),
    [
        (IgnoringStore, "ignores the condition"),
        (CheckingFirstStore, f"{RACERS} of {RACERS} racing creates of one key succeeded"),
        (RememberingMissesStore, "a get after a finished put does not show it"),
        (ListingLateStore, "a list after a finished put does not show it"),
        (ListingOtherSizesStore, "does not say how many bytes a get gives"),
        (ServingOldBytesStore, "older bytes"),
        (KeepingTheLoserStore, "bytes of another than the winner"),
    ],
)
def test_an_unsafe_store_is_refused_by_name_and_rule(unsafe: type[StoreDecorator], rule: str) -> None:
    memory = MemoryStore()
    with pytest.raises(UnsafeStoreError, match=rule) as refused:
        probe(unsafe(memory))
    assert "memory://" in str(refused.value)
    assert list(memory.list("")) == []


def test_a_safe_store_is_accepted_and_left_as_it_was(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("acme/entry", b"x", ABSENT)
    probe(store)
    assert list(store.list("")) == [ListedObject("acme/entry", 1)]


def test_a_store_that_does_not_answer_is_not_called_unsafe() -> None:
    memory = MemoryStore()
    with pytest.raises(UnavailableError):
        probe(FaultyStore(memory, lambda operation, _: Fault.LOST if operation is Operation.PUT else None))


def test_nor_is_one_whose_answers_get_lost() -> None:
    for seed in range(200):
        memory = MemoryStore()
        store = FaultyStore(memory, seeded(Random(seed), rate=0.1), sleep=lambda _: None)
        try:
            probe(store)
        except UnavailableError:
            continue


class TestTheVerdict:
    @pytest.fixture
    def counters(self) -> Counters:
        return Counters()

    @pytest.fixture
    def store(self, counters: Counters) -> Store:
        return MeteredStore(MemoryStore(), counters)

    def test_is_kept_for_a_day(self, store: Store, counters: Counters, tmp_path: Path) -> None:
        probe_daily(store, tmp_path, lambda: 1000.0)
        after_one = counters.snapshot()
        probe_daily(store, tmp_path, lambda: 1000.0 + VERDICT_AGE_S_MAX - 1)
        assert counters.snapshot() == after_one
        probe_daily(store, tmp_path, lambda: 1000.0 + VERDICT_AGE_S_MAX)
        assert counters.snapshot()["store.put.requests"] == 2 * after_one["store.put.requests"]

    def test_is_not_believed_from_the_future(self, store: Store, counters: Counters, tmp_path: Path) -> None:
        probe_daily(store, tmp_path, lambda: 1e9)
        after_one = counters.snapshot()
        probe_daily(store, tmp_path, lambda: 1000.0)
        assert counters.snapshot() != after_one

    def test_is_of_one_store(self, store: Store, counters: Counters, tmp_path: Path) -> None:
        probe_daily(LocalStore(tmp_path / "store"), tmp_path / "cache", lambda: 1000.0)
        probe_daily(store, tmp_path / "cache", lambda: 1000.0)
        assert counters.snapshot()["store.put.requests"] > RACERS

    def test_that_a_store_is_unsafe_is_found_again_each_time(self, tmp_path: Path) -> None:
        for _ in range(2):
            with pytest.raises(UnsafeStoreError):
                probe_daily(IgnoringStore(MemoryStore()), tmp_path, lambda: 1000.0)
        probe_daily(MemoryStore(), tmp_path, lambda: 1000.0)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"memory://": "soon"}', "null"])
    def test_that_makes_no_sense_counts_as_none(
        self, store: Store, counters: Counters, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / VERDICTS).write_text(text)
        probe_daily(store, tmp_path, lambda: 1000.0)
        assert counters.snapshot()["store.put.requests"] > RACERS


class ExpiringStore(MemoryStore):
    def expiring_rules(self) -> tuple[str, ...]:
        return ("purge-after-30-days",)


def test_a_bucket_that_expires_objects_is_refused_by_the_name_of_the_rule() -> None:
    check_lifecycle(MemoryStore())
    with pytest.raises(UnsafeStoreError, match="purge-after-30-days"):
        check_lifecycle(ExpiringStore())


class RefusingStore(StoreDecorator):
    """Its credentials lack rights."""

    def __init__(self, store: Store, *missing: str) -> None:
        super().__init__(store)
        self._missing = missing

    def _check(self, right: str) -> None:
        if right in self._missing:
            raise RefusedError(f"AccessDenied ({right})")

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._check("get")
        return self._store.get(key, bytes_max)

    def put(self, key: str, data: bytes, when: When) -> Version:
        self._check("overwrite" if when is ALWAYS else "create")
        return self._store.put(key, data, when)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._check("list")
        return self._store.list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        self._check("delete")
        self._store.delete(keys)


@pytest.mark.parametrize("right", ["get", "list", "create", "overwrite", "delete"])
def test_a_right_that_is_missing_is_named_and_nothing_stays(right: str) -> None:
    memory = MemoryStore()
    with pytest.raises(RefusedError, match=f"the right to {right} is missing: AccessDenied"):
        probe(RefusingStore(memory, right))
    assert list(memory.list("")) == []


def test_all_rights_that_are_missing_are_named_at_once() -> None:
    memory = MemoryStore()
    with pytest.raises(RefusedError, match="the right to delete, get, list is missing"):
        probe(RefusingStore(memory, "get", "list", "delete"))
    assert list(memory.list("")) == []


def test_what_a_probe_left_that_was_cut_off_is_removed_by_a_later_one() -> None:
    memory = MemoryStore()
    memory.put(f"{PREFIX}1000-ffff-read", b"x", ABSENT)
    memory.put("acme/entry", b"x", ABSENT)

    probe(memory, lambda: 1000.0 + LEFT_OVER_AGE_S)
    assert [line.key for line in memory.list("")] == [f"{PREFIX}1000-ffff-read", "acme/entry"]
    probe(memory, lambda: 1001.0 + LEFT_OVER_AGE_S)
    assert [line.key for line in memory.list("")] == ["acme/entry"]


class KeepingStore(StoreDecorator):
    """Says that it deleted, and did not."""

    def delete(self, keys: Iterable[str]) -> None:
        """Do nothing."""


def test_a_store_that_does_not_delete_what_it_says_is_refused() -> None:
    with pytest.raises(UnsafeStoreError, match="after a finished delete"):
        probe(KeepingStore(MemoryStore()))
