"""Damage in the store is told to the callers of that agent, by its key, and not settled: a repair makes all good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo_worker.group import Agent, Group, Lease, PendingCreate
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS, UnavailableError
from tests.support.writers import AGENT, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
SECOND = LAYOUT.entry(2)


@dataclass
class World:
    store: MemoryStore
    worker: Writer

    def open_anew(self) -> None:
        """Have the worker know nothing of the agent, as one that takes over."""
        self.worker.service.cache.drop(AGENT)
        self.worker.new_lease()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = MemoryStore()
    with writer(store, tmp_path / "cache") as worker:
        worker.ask(create(human="likes tea"))
        for number in range(3):
            worker.ask(commit(f"commit {number}"))
        yield World(store, worker)


def flip(data: bytes) -> bytes:
    return data[:-30] + bytes([data[-30] ^ 0xFF]) + data[-29:]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "cut": lambda data: data[: len(data) // 2],
    "another's": lambda data: b"something else",
    "flipped": flip,
}


@pytest.mark.parametrize("how", DAMAGES)
def test_the_key_is_named_and_the_same_id_runs_after_the_repair(world: World, how: str) -> None:
    sound = world.store.get(SECOND).data
    damaged = DAMAGES[how](sound)
    if damaged is None:
        world.store.delete([SECOND])
    else:
        world.store.put(SECOND, damaged, ALWAYS)
    world.open_anew()
    request = commit("after all", request_id="the-same-id")
    for _ in range(2):
        with pytest.raises(MemoryDamagedError) as caught:
            world.worker.ask(request)
        assert caught.value.details == {"key": SECOND}
        assert SECOND in caught.value.message
    with pytest.raises(MemoryDamagedError):
        world.worker.messages()

    world.store.put(SECOND, sound, ALWAYS)
    assert world.worker.ask(request).message == "after all"
    assert world.worker.messages()[-1] == "after all"


def test_other_agents_are_served(world: World) -> None:
    world.store.delete([SECOND])
    world.open_anew()
    with pytest.raises(MemoryDamagedError):
        world.worker.messages()
    group = Group(Agent("acme", "another"), (create(),), Lease("lease", 1e12))
    (outcome,) = world.worker.service(group)
    assert not isinstance(outcome, MemoryDamagedError)


def test_nothing_is_told_while_an_entry_may_be_on_its_way(world: World) -> None:
    world.store.delete([SECOND])
    world.open_anew()
    group = Group(AGENT, (commit("late"),), Lease("lease", 1e12), PendingCreate(seq=9))
    with pytest.raises(UnavailableError, match="an answer was lost"):
        world.worker.service(group)
