"""A warm repository is written to its disk when nothing waits behind a turn, and later while there is room for that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from memrepo.limits import KIB, MIB
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Group, Lease
from memrepo_worker.store.backends.memory import MemoryStore
from tests.support.writers import Writer, commit, create, writer

ENOUGH: dict[str, str | None] = {f"{number}": f"{number}" * 60 * KIB for number in range(8)}
"""More than a repository without a pack keeps in memory where nothing follows."""


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def one(store: MemoryStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(a="1\n"))
        yield one


def test_it_is_saved_by_the_turn_that_has_filled_it(one: Writer) -> None:
    serve(one, commit("much", ENOUGH))

    assert is_saved(one)


def test_it_is_not_while_its_agent_waits_for_more_and_is_afterwards(one: Writer) -> None:
    second, third = commit("second"), commit("third")

    serve(one, commit("much", ENOUGH), [second, third])
    at_first = is_saved(one)
    serve(one, second, [third])
    serve(one, third)

    assert not at_first
    assert is_saved(one)


def test_it_is_however_much_waits_once_it_takes_as_much_memory_as_it_may(one: Writer) -> None:
    serve(one, commit("more than that", {"large": "x" * 5 * MIB}), [commit("second")])

    assert is_saved(one)


def test_it_is_however_much_waits_after_so_many_entries(one: Writer) -> None:
    requests = [commit(f"{number}") for number in range(70)]

    for request in requests:
        serve(one, request, [commit("never")])

    assert one.warm().on_disk.seq >= 60


def test_what_was_not_saved_is_there_in_another_worker(
    one: Writer, store: MemoryStore, tmp_path: Path
) -> None:
    serve(one, commit("much", ENOUGH), [commit("never")])

    with writer(store, tmp_path / "two") as two:
        assert two.texts() == {"a": "1\n", **ENOUGH}


def is_saved(one: Writer) -> bool:
    return one.warm().on_disk.seq == one.warm().state.seq


def serve(one: Writer, request: Request, following: Sequence[Request] = ()) -> None:
    """Hand one request over as the mailbox does, with what waits behind it."""
    one.service(Group(one.agent, (request,), Lease(one.lease_token, math.inf), following=lambda: following))
