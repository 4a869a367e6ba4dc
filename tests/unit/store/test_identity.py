from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.identity import IDENTITY_KEY, IdentityGuard, begin_identity, read_identity
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    ListedObject,
    NotThereError,
    RefusedError,
    UnavailableError,
)

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
