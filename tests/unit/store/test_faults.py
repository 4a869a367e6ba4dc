from __future__ import annotations

from random import Random

import pytest

from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    NotThereError,
    PreconditionFailedError,
    StoreError,
    UnavailableError,
)
from tests.support.faulty_store import (
    FAULTS_OF,
    Fault,
    FaultyStore,
    IgnoringStore,
    Operation,
    at_request,
    seeded,
)


def faulty(fault: Fault, number: int = 0) -> tuple[FaultyStore, MemoryStore]:
    memory = MemoryStore()
    return FaultyStore(memory, at_request(number, fault), sleep=lambda _: None), memory


def test_an_answer_that_is_lost_hides_a_put_that_was_done() -> None:
    store, memory = faulty(Fault.ANSWER_LOST)
    with pytest.raises(UnavailableError):
        store.put("key", b"x", ABSENT)
    assert memory.get("key").data == b"x"


@pytest.mark.parametrize(
    "fault", [Fault.LOST, Fault.CONFLICT, Fault.THROTTLED, Fault.OVERLOADED, Fault.TIMEOUT]
)
def test_a_request_that_is_lost_or_refused_for_now_does_nothing(fault: Fault) -> None:
    store, memory = faulty(fault)
    with pytest.raises(UnavailableError):
        store.put("key", b"x", ABSENT)
    assert list(memory.list("")) == []


def test_a_late_put_lands_right_after_somebody_was_told_that_it_is_not_there() -> None:
    store, memory = faulty(Fault.LATE)
    with pytest.raises(UnavailableError):
        store.put("key", b"x", ABSENT)
    with pytest.raises(NotThereError):
        store.get("key")
    assert memory.get("key").data == b"x"
    with pytest.raises(PreconditionFailedError):
        store.put("key", b"again", ABSENT)


def test_a_late_put_lands_in_the_end_also_when_nobody_asks_for_it() -> None:
    store, memory = faulty(Fault.LATE)
    with pytest.raises(UnavailableError):
        store.put("key", b"x", ABSENT)
    for number in range(6):
        store.put(f"other/{number}", b"", ABSENT)
    assert memory.get("key").data == b"x"


def test_a_late_create_loses_against_what_came_before_it() -> None:
    store, memory = faulty(Fault.LATE)
    with pytest.raises(UnavailableError):
        store.put("key", b"late", ABSENT)
    store.put("key", b"rival", ABSENT)
    store.land_late_puts()
    assert memory.get("key").data == b"rival"


def test_a_torn_listing_breaks_after_true_lines() -> None:
    store, memory = faulty(Fault.TORN)
    for number in range(4):
        memory.put(f"key/{number}", b"", ABSENT)
    listing = store.list("")
    assert [next(listing).key, next(listing).key] == ["key/0", "key/1"]
    with pytest.raises(UnavailableError):
        next(listing)


def test_a_slow_request_is_done() -> None:
    waits: list[float] = []
    store = FaultyStore(MemoryStore(), at_request(0, Fault.SLOW), slow_s=0.5, sleep=waits.append)
    store.put("key", b"x", ABSENT)
    assert waits == [0.5]


def test_one_request_can_be_picked() -> None:
    store, memory = faulty(Fault.LOST, number=2)
    store.put("0", b"", ABSENT)
    store.put("1", b"", ABSENT)
    with pytest.raises(UnavailableError):
        store.put("2", b"", ABSENT)
    store.put("3", b"", ABSENT)
    assert [line.key for line in memory.list("")] == ["0", "1", "3"]


def run(seed: int) -> tuple[list[str], FaultyStore]:
    """Do the same requests over a seeded store, and tell what became of each."""
    store = FaultyStore(MemoryStore(), seeded(Random(seed), rate=0.4), sleep=lambda _: None)
    outcomes = []
    for number in range(200):
        key = f"key/{number % 20}"
        requests = (
            lambda key=key: store.put(key, b"x", ABSENT),
            lambda key=key: store.get(key),
            lambda: list(store.list("")),
            lambda key=key: store.delete([key]),
        )
        try:
            outcomes.append(str(requests[number % 4]()))
        except StoreError as error:
            outcomes.append(repr(error))
    return outcomes, store


def test_a_seed_does_the_same_again() -> None:
    assert run(7)[0] == run(7)[0]
    assert run(7)[0] != run(8)[0]


def test_seeds_reach_every_fault_of_every_operation() -> None:
    reached: set[Fault] = set()
    for seed in range(5):
        reached |= set(run(seed)[1].injected)
    assert reached == set(Fault) == {fault for operation in Operation for fault in FAULTS_OF[operation]}


def test_a_store_that_ignores_conditions_lets_two_creates_succeed() -> None:
    store = IgnoringStore(MemoryStore())
    store.put("key", b"first", ABSENT)
    store.put("key", b"second", ABSENT)
    assert store.get("key").data == b"second"
    store.put("key", b"third", ALWAYS)
    assert store.name == "memory://"
