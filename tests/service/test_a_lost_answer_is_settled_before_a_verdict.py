"""Whether an entry may still be on its way is known from try to try, so that no request is told to have failed then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from memrepo_worker.group import Group, Lease, Success
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import GET_BYTES_MAX, StoredObject, UnavailableError, Version, When
from tests.support.writers import AGENT, Writer, commit, create, writer

Answer = TypeVar("Answer")


class Line(StoreDecorator):
    """The way to a store: while it is ``cut``, requests arrive and answers do not."""

    cut = False

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        found = super().get(key, bytes_max)
        return self._answer(found)

    def put(self, key: str, data: bytes, when: When) -> Version:
        return self._answer(super().put(key, data, when))

    def _answer(self, answer: Answer) -> Answer:
        if self.cut:
            raise UnavailableError("the answer was lost")
        return answer


@dataclass
class World:
    line: Line
    worker: Writer


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    line = Line(MemoryStore())
    with writer(line, tmp_path / "cache") as worker:
        worker.ask(create(human="likes tea"))
        yield World(line, worker)


def test_a_create_whose_answer_is_lost_may_land_until_its_number_is_taken(world: World) -> None:
    group = Group(AGENT, (commit("once"),), Lease("lease-1", 1e12))
    world.line.cut = True
    with pytest.raises(UnavailableError):
        world.worker.service(group)
    assert group.create.may_land

    world.line.cut = False
    (outcome,) = world.worker.service(group)
    assert isinstance(outcome, Success)
    assert group.create.seq == 0
    assert world.worker.messages()[-1] == "once"


def test_a_fault_after_the_create_is_settled_by_the_next_try(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError

    group = Group(AGENT, (commit("once"),), Lease("lease-1", 1e12))
    with monkeypatch.context() as broken:
        broken.setattr(WarmRepo, "install", break_down)
        with pytest.raises(ZeroDivisionError):
            world.worker.service(group)
    assert not group.create.may_land

    (outcome,) = world.worker.service(group)
    assert isinstance(outcome, Success)
    assert world.worker.messages().count("once") == 1
