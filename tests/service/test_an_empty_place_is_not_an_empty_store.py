"""A store that was exchanged under a running worker is waited for: no memory is told to be absent, none is begun."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError, RepoNotFoundError
from memrepo_worker.group import Agent
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.identity import IDENTITY_KEY, IdentityWatch, begin_identity
from memrepo_worker.store.interface import UnavailableError
from tests.support.writers import Writer, commit, create, files, writer


class Bucket(StoreDecorator):
    """A bucket behind an address, at which another one may answer from some moment on."""

    def exchange(self) -> None:
        self._before, self._store = self._store, MemoryStore()

    def bring_back(self) -> None:
        self._store = self._before


@dataclass
class World:
    bucket: Bucket
    worker: Writer
    cache: Path

    def restart(self) -> None:
        """Have the worker know nothing of any agent, as another that takes over."""
        self.worker.service.cache.drop(self.worker.agent)


def watch_of(world: World) -> IdentityWatch:
    watch = world.worker.service.dependencies.check_store.__self__  # type: ignore[attr-defined] # bound to the watch
    assert isinstance(watch, IdentityWatch)
    return watch


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bucket = Bucket(MemoryStore())
    identity = begin_identity(bucket, lambda: "mine")
    with writer(bucket, tmp_path / "cache", identity=identity) as worker:
        worker.ask(create(human="likes tea"))
        yield World(bucket, worker, tmp_path)


def test_an_agent_that_nobody_here_knows_is_not_told_to_have_no_memory(world: World) -> None:
    world.restart()
    world.bucket.exchange()
    with pytest.raises(UnavailableError, match="no identity"):
        world.worker.texts()
    with pytest.raises(UnavailableError, match="no identity"):
        world.worker.ask(create())


def test_an_agent_whose_entries_are_gone_is_not_opened_anew(world: World) -> None:
    world.worker.new_lease()
    world.bucket.exchange()
    with pytest.raises(UnavailableError, match="no identity"):
        world.worker.texts()
    world.bucket.bring_back()
    assert world.worker.texts() == {"human": "likes tea"}


def test_nothing_is_written_to_the_store_that_came_in_its_place(world: World) -> None:
    world.worker.new_lease()
    world.bucket.exchange()
    for _ in range(2):
        with pytest.raises(UnavailableError):
            world.worker.ask(commit("lost"))
    assert list(world.bucket.list("")) == []


def test_another_store_with_an_identity_of_its_own_is_not_believed_either(world: World) -> None:
    world.restart()
    world.bucket.exchange()
    begin_identity(world.bucket, lambda: "theirs")
    with pytest.raises(UnavailableError, match="theirs"):
        world.worker.texts()


def test_an_agent_of_that_name_in_another_store_is_not_taken_for_ours(world: World, tmp_path: Path) -> None:
    world.worker.ask(commit("ours"))
    world.worker.new_lease()
    world.bucket.exchange()
    begin_identity(world.bucket, lambda: "theirs")
    with writer(world.bucket, tmp_path / "theirs", identity="theirs") as their_worker:
        their_worker.ask(create(human="likes coffee"))
    with pytest.raises(UnavailableError, match="theirs"):
        world.worker.texts()
    world.bucket.bring_back()
    assert world.worker.texts()["human"] == "likes tea"


def test_nor_one_with_as_many_entries_once_the_exchange_was_seen(world: World, tmp_path: Path) -> None:
    world.worker.new_lease()
    world.bucket.exchange()
    begin_identity(world.bucket, lambda: "theirs")
    with writer(world.bucket, tmp_path / "theirs", identity="theirs") as their_worker:
        their_worker.ask(create(human="likes coffee"))
    watch_of(world).look()
    with pytest.raises(UnavailableError, match="theirs"):
        world.worker.texts()


def test_a_store_that_is_the_right_one_is_believed_that_a_memory_is_absent(
    world: World, tmp_path: Path
) -> None:
    nobody = Agent("acme", "nobody")
    with writer(world.bucket, tmp_path / "other", identity="mine") as other:
        other.agent = nobody
        with pytest.raises(RepoNotFoundError):
            other.texts()


def test_a_warm_commit_asks_no_request_more_for_it(world: World) -> None:
    before = world.worker.counters.snapshot()
    world.worker.ask(commit("Learn"))
    after = world.worker.counters.snapshot()
    requests = {name: after[name] - before.get(name, 0) for name in after if name.endswith(".requests")}
    assert requests["store.put.requests"] == 1
    assert sum(number for name, number in requests.items() if name.startswith("store.")) == 1


def test_a_warm_agents_commit_waits_once_the_exchange_was_seen(world: World) -> None:
    watch = watch_of(world)
    world.bucket.exchange()
    watch.look()
    with pytest.raises(UnavailableError, match="no identity"):
        world.worker.ask(commit("lost"))
    assert list(world.bucket.list("")) == []
    world.bucket.bring_back()
    watch.look()
    world.worker.ask(commit("kept"))
    assert world.worker.messages()[-1:] == ["kept"]


def test_a_folder_takes_no_commit_while_another_is_in_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = LocalStore(folder)
    identity = begin_identity(store, lambda: "mine")
    with writer(store, tmp_path / "cache", identity=identity) as worker:
        worker.ask(create(human="likes tea"))
        folder.rename(tmp_path / "away")
        begin_identity(LocalStore(folder), lambda: "theirs")  # as a worker that was started on it would
        with pytest.raises(UnavailableError, match="not the store that it was"):
            worker.ask(commit("lost"))
        assert [line.key for line in LocalStore(folder).list("")] == [IDENTITY_KEY]

        folder.rename(tmp_path / "theirs")
        (tmp_path / "away").rename(folder)
        worker.ask(commit("kept"))
        assert worker.messages()[-1:] == ["kept"]


def test_an_agents_folder_that_was_emptied_under_a_warm_repository_is_damage_until_the_copy_is_thrown_away(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create())
    one.ask(commit("old"))
    shutil.rmtree(tmp_path / "store" / "acme")
    one.new_lease()

    for request in (files(), create(new="life")):
        with pytest.raises(MemoryDamagedError):
            one.ask(request)
    one.service.cache.drop(one.agent)
    with pytest.raises(RepoNotFoundError):
        one.ask(files())
    one.ask(create(new="life"))

    with writer(store, tmp_path / "two") as two:
        assert two.texts() == {"new": "life"}


def test_an_agents_folder_that_was_emptied_while_the_worker_was_down_is_damage(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
    shutil.rmtree(tmp_path / "store" / "acme")

    with writer(store, tmp_path / "one") as again, pytest.raises(MemoryDamagedError):
        again.ask(files())
