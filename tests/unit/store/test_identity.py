from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.identity import (
    IDENTITY_KEY,
    IdentityGuard,
    IdentityWatch,
    begin_identity,
    read_identity,
)
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    ListedObject,
    NotThereError,
    RefusedError,
    StoredObject,
    UnavailableError,
)
from tests.support.waiting import wait_for

KEY = "acme/agent-42/repo.git/journal/00000000000000000001.bundle"


def test_all_that_begin_a_store_at_once_find_one_identity() -> None:
    store, numbers = MemoryStore(), count(1)
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: begin_identity(store, lambda: f"store{next(numbers)}"), range(32)))

    assert found == {read_identity(store)}


def test_a_store_keeps_the_identity_that_it_has() -> None:
    store = MemoryStore()
    assert begin_identity(store, lambda: "first") == begin_identity(store, lambda: "second") == "first"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"format": 2, "store": "x"}', b'{"format": 1, "store": 7}']
)
def test_what_is_no_identity_is_refused_by_its_key(data: bytes) -> None:
    store = MemoryStore()
    store.put(IDENTITY_KEY, data, ALWAYS)
    with pytest.raises(RefusedError, match=IDENTITY_KEY):
        read_identity(store)


def test_a_store_that_lost_its_identity_or_has_another_is_unavailable() -> None:
    store = MemoryStore()
    guard = IdentityGuard(store, begin_identity(store, lambda: "mine"))
    guard.confirm()
    store.delete([IDENTITY_KEY])
    with pytest.raises(UnavailableError, match="no identity"):
        guard.confirm()
    begin_identity(store, lambda: "theirs")
    with pytest.raises(UnavailableError, match="the identity theirs"):
        guard.confirm()


class Answering(StoreDecorator):
    """A store that may be away."""

    away = False

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        if self.away:
            raise UnavailableError("away")
        return super().get(key, bytes_max)


def test_writes_wait_from_the_first_look_that_finds_another_store_until_the_right_one_is_back() -> None:
    store = Answering(MemoryStore())
    begin_identity(store, lambda: "mine")
    watch = IdentityWatch(IdentityGuard(store, "mine"), every_s=3600)
    try:
        watch.check()
        kept = store.get(IDENTITY_KEY).data
        store.delete([IDENTITY_KEY])
        watch.look()
        with pytest.raises(UnavailableError, match="no identity"):
            watch.check()
        store.put(IDENTITY_KEY, kept, ALWAYS)
        watch.look()
        watch.check()

        store.away = True
        watch.look()
        watch.check()  # that it does not answer says nothing about which it is
    finally:
        watch.close()


def test_it_looks_by_itself_while_there_are_writes() -> None:
    store = MemoryStore()
    watch = IdentityWatch(IdentityGuard(store, "mine"), every_s=0.01)

    def is_refused() -> bool:
        try:
            watch.check()
        except UnavailableError:
            return True
        return False

    try:
        wait_for(is_refused, "a look")
    finally:
        watch.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def anchored(folder: Path) -> LocalStore:
    """A folder with one object, held to its identity as a worker holds it."""
    store = LocalStore(folder)
    begin_identity(store, lambda: "mine")
    store.put(KEY, b"entry", ABSENT)
    store.anchor(IDENTITY_KEY)
    return store


def replace_by_nothing(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    folder.mkdir()


def replace_by_another_store(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    begin_identity(LocalStore(folder), lambda: "theirs")


def replace_by_one_just_begun(folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    LocalStore(folder)


@pytest.mark.parametrize(
    "exchange",
    [
        replace_by_nothing,
        replace_by_another_store,
        replace_by_one_just_begun,
        lambda f: f.rename(f.with_name("away")),
    ],
)
def test_a_folder_that_was_exchanged_answers_nothing_and_takes_nothing(
    folder: Path, anchored: LocalStore, exchange: object
) -> None:
    assert callable(exchange)
    exchange(folder)

    with pytest.raises(UnavailableError, match="not the store that it was"):
        anchored.get(KEY)
    with pytest.raises(UnavailableError, match="not the store that it was"):
        list(anchored.list("acme/"))
    with pytest.raises(UnavailableError, match="not the store that it was"):
        anchored.put(KEY.replace("1.", "2."), b"next", ABSENT)
    with pytest.raises(UnavailableError, match="not the store that it was"):
        anchored.delete([KEY])
    assert not list(folder.rglob("*.bundle"))


def test_a_folder_that_came_back_is_served_on_also_from_another_file_system(
    folder: Path, anchored: LocalStore
) -> None:
    replace_by_nothing(folder)
    with pytest.raises(UnavailableError):
        anchored.get(KEY)
    folder.rmdir()
    copy = folder.with_name("away")
    text = (copy / IDENTITY_KEY).read_bytes()
    (copy / IDENTITY_KEY).unlink()
    (copy / IDENTITY_KEY).write_bytes(text)  # with another inode, as after a restore or a new mount
    copy.rename(folder)

    assert anchored.get(KEY).data == b"entry"
    assert list(anchored.list("acme/")) == [ListedObject(KEY, 5)]
    with pytest.raises(NotThereError):
        anchored.get("acme/none")
