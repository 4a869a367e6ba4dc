from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

import pytest

from memrepo.clock import Backoff
from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.decorators.metering import LISTED_PER_REQUEST, MeteredStore
from memrepo_worker.store.decorators.retry import RetryingStore, RetryPolicy
from memrepo_worker.store.interface import ABSENT, ALWAYS, ListedObject, NotThereError, UnavailableError
from tests.support.faulty_store import Fault, FaultyStore, Operation, Plan

POLICY = RetryPolicy(attempts_max=4, backoff=Backoff(first_s=0.1, max_s=0.3, jitter=1.0))


class Rig:
    """A retrying store over one that fails the first requests, and what happened."""

    def __init__(self, failures: int, fault: Fault = Fault.OVERLOADED) -> None:
        self.memory = MemoryStore()
        self.faulty = FaultyStore(self.memory, first(failures, fault))
        self.waits: list[float] = []
        self.store = RetryingStore(self.faulty, Random(1), POLICY, self.waits.append)

    @property
    def failures(self) -> int:
        return self.faulty.injected.total()


def first(failures: int, fault: Fault) -> Plan:
    left = [fault] * failures

    def plan(_operation: Operation, _key: str) -> Fault | None:
        return left.pop() if left else None

    return plan


def test_a_get_is_tried_again_until_it_succeeds() -> None:
    rig = Rig(failures=3)
    rig.memory.put("key", b"x", ABSENT)
    assert rig.store.get("key").data == b"x"
    assert rig.failures == 3


def test_but_only_so_many_times() -> None:
    rig = Rig(failures=9)
    with pytest.raises(UnavailableError):
        rig.store.get("key")
    assert rig.failures == POLICY.attempts_max
    assert len(rig.waits) == POLICY.attempts_max - 1


def test_waits_grow_to_a_limit_and_are_random() -> None:
    rig = Rig(failures=9)
    with pytest.raises(UnavailableError):
        rig.store.delete(["key"])
    assert all(0 <= wait <= limit for wait, limit in zip(rig.waits, (0.1, 0.2, 0.3), strict=True))
    assert len(set(rig.waits)) == 3


def test_an_answer_is_not_tried_again() -> None:
    rig = Rig(failures=0)
    with pytest.raises(NotThereError):
        rig.store.get("none")
    assert rig.waits == []


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.LOST, Fault.CONFLICT, Fault.THROTTLED])
def test_a_conditional_create_is_never_sent_twice(fault: Fault) -> None:
    rig = Rig(failures=1, fault=fault)
    with pytest.raises(UnavailableError):
        rig.store.put("key", b"x", ABSENT)
    assert rig.waits == []


def test_nor_is_a_put_of_a_version() -> None:
    rig = Rig(failures=1)
    version = rig.memory.put("key", b"x", ABSENT)
    with pytest.raises(UnavailableError):
        rig.store.put("key", b"y", version)
    assert rig.memory.get("key").data == b"x"


def test_an_unconditional_put_is_tried_again() -> None:
    rig = Rig(failures=2, fault=Fault.ANSWER_LOST)
    rig.store.put("key", b"x", ALWAYS)
    assert rig.memory.get("key").data == b"x"
    assert rig.failures == 2


def test_a_listing_that_breaks_is_begun_anew_and_shows_nothing_twice() -> None:
    rig = Rig(failures=2, fault=Fault.TORN)
    for number in range(5):
        rig.memory.put(f"key/{number}", b"", ABSENT)
    assert [line.key for line in rig.store.list("key/", "key/0")] == [f"key/{n}" for n in range(1, 5)]


def test_a_listing_of_several_folders_that_breaks_shows_all_of_them_once() -> None:
    rig = Rig(failures=2, fault=Fault.TORN)
    keys = ["key/a/1", "key/a/2", "key/b", "key/c/1", "key/c/d/1", "key/e"]
    for key in keys:
        rig.memory.put(key, b"", ABSENT)

    assert sorted(line.key for line in rig.store.list("key/")) == keys
    assert rig.failures == 2


def test_a_listing_that_breaks_each_time_is_given_up() -> None:
    rig = Rig(failures=9, fault=Fault.TORN)
    rig.memory.put("key", b"", ABSENT)
    with pytest.raises(UnavailableError):
        list(rig.store.list(""))
    assert rig.failures == POLICY.attempts_max


@pytest.mark.parametrize("calls", [{1}, {2}, {2, 3}])
def test_a_listing_that_cannot_be_begun_is_tried_again_and_never_cut_short(calls: set[int]) -> None:
    class Refusing(StoreDecorator):
        """Fails where it is asked for a listing, before there is one; the first that it gives breaks."""

        asked = 0

        def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
            self.asked += 1
            if self.asked in calls:
                raise UnavailableError("not now")
            return super().list(prefix, start_after)

    rig = Rig(failures=1, fault=Fault.TORN)
    for number in range(4):
        rig.memory.put(f"key/{number}", b"", ABSENT)
    store = RetryingStore(Refusing(rig.faulty), Random(1), POLICY, rig.waits.append)

    assert [line.key for line in store.list("key/")] == [f"key/{n}" for n in range(4)]
    assert len(rig.waits) == len(calls) + 1


def test_of_a_listing_no_more_pages_are_read_than_are_looked_at() -> None:
    counters, memory = Counters(), MemoryStore()
    for number in range(5 * LISTED_PER_REQUEST):
        memory.put(f"{number:05d}", b"", ABSENT)
    pages = MeteredStore(memory, counters)
    store = MeteredStore(RetryingStore(StoreDecorator(pages), Random(1), POLICY), Counters())

    assert len([*islice(store.list(""), LISTED_PER_REQUEST)]) == LISTED_PER_REQUEST
    assert counters.snapshot()["store.list.requests"] == 1


def test_a_delete_of_keys_from_a_generator_is_tried_again_whole() -> None:
    rig = Rig(failures=1)
    rig.memory.put("a", b"", ABSENT)
    rig.memory.put("b", b"", ABSENT)
    rig.store.delete(key for key in ("a", "b"))
    assert list(rig.memory.list("")) == []
