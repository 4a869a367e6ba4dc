"""A worker that may open no file for a while, wherever it notices: what it answers is right, and the rest waits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, Group, Lease, Outcome, Success
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.descriptors import descriptors_left
from tests.support.writers import Writer, commit, create, files, history, writer

SPARE_MAX = 8
IN_MEMORY, ON_DISK, NOWHERE = "in memory", "on disk", "nowhere"


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Writer]:
    """A worker with a memory in each of the three places where it may be; each has one commit."""
    store, cache = MemoryStore(), tmp_path / "cache"
    with writer(store, tmp_path / "another") as another, writer(store, cache) as before:
        for place, maker in ((IN_MEMORY, before), (ON_DISK, before), (NOWHERE, another)):
            assert outcomes(maker, place, create(first="1"))
    with writer(store, cache) as one:
        assert outcomes(one, IN_MEMORY, files())
        # What the other processes of the machine keep is looked at after each turn.
        one.service.cache.accounts._clock = iter(count(1_000_000.0, 10.0)).__next__
        yield one


def outcomes(one: Writer, place: str, request: Request) -> list[Outcome]:
    agent = Agent("acme", place.replace(" ", "-"))
    about = request.model_copy(update={"agent_id": agent.agent_id})
    return [*one.service(Group(agent, (about,), Lease("lease-1", math.inf)))]


@pytest.mark.parametrize("spare", range(SPARE_MAX + 1))
@pytest.mark.parametrize("place", [IN_MEMORY, ON_DISK, NOWHERE])
def test_no_request_is_the_workers_fault(one: Writer, place: str, spare: int) -> None:
    written, read = commit("second", {"second": "2"}), files()
    with descriptors_left(spare):
        for request in (written, read):
            try:
                (outcome,) = outcomes(one, place, request)
            except UnavailableError:
                continue
            assert isinstance(outcome, Success)

    told = [outcome for request in (written, read, history()) for outcome in outcomes(one, place, request)]
    assert [len(outcome.value) for outcome in told[1:] if isinstance(outcome, Success)] == [2, 2]
    assert isinstance(told[0], Success)
