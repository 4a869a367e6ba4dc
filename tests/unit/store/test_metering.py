from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.metering import LISTED_PER_REQUEST, MeteredStore
from memrepo_worker.store.interface import ABSENT, NotThereError, PreconditionFailedError
from memrepo_worker.store.meanwhile import IsAnswered, meanwhile
from tests.support.delayed_store import DelayedStore


def test_requests_and_bytes_are_counted_by_operation() -> None:
    counters = Counters()
    store = MeteredStore(MemoryStore(), counters)
    store.put("key", b"12345", ABSENT)
    store.get("key")
    list(store.list(""))
    store.delete(["key"])
    assert counters.snapshot() == {
        "store.put.requests": 1,
        "store.put.bytes": 5,
        "store.get.requests": 1,
        "store.get.bytes": 5,
        "store.list.requests": 1,
        "store.delete.requests": 1,
        "store.rounds": 4,
    }


def test_requests_that_fail_are_counted_without_bytes() -> None:
    counters = Counters()
    store = MeteredStore(MemoryStore(), counters)
    with pytest.raises(NotThereError):
        store.get("key")
    store.put("key", b"12345", ABSENT)
    with pytest.raises(PreconditionFailedError):
        store.put("key", b"1234567", ABSENT)
    counts = counters.snapshot()
    assert counts["store.get.requests"] == 1
    assert "store.get.bytes" not in counts
    assert counts["store.put.requests"] == 2
    assert counts["store.put.bytes"] == 5


def test_every_page_of_a_listing_is_a_request_and_a_round() -> None:
    counters = Counters()
    memory = MemoryStore()
    for number in range(2 * LISTED_PER_REQUEST + 1):
        memory.put(f"{number:05d}", b"", ABSENT)
    listed = [line.key for line in MeteredStore(memory, counters).list("")]
    assert listed == [f"{number:05d}" for number in range(2 * LISTED_PER_REQUEST + 1)]
    assert counters.snapshot() == {"store.list.requests": 3, "store.rounds": 3}


def test_requests_that_overlap_are_one_round() -> None:
    counters = Counters()
    all_are_under_way = threading.Barrier(8)
    delayed = DelayedStore(MemoryStore(), 0.0, sleep=lambda _: void(all_are_under_way.wait(timeout=10)))
    store = MeteredStore(delayed, counters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: store.put(f"key/{number}", b"", ABSENT), range(8)))
    assert counters.snapshot()["store.rounds"] == 1
    assert counters.snapshot()["store.put.requests"] == 8


def void(_: object) -> None:
    """Drop a value."""


def test_the_delay_is_before_every_request() -> None:
    waits: list[float] = []
    store = DelayedStore(MemoryStore(), 0.02, waits.append, lambda: 0.0)
    store.put("key", b"", ABSENT)
    store.get("key")
    list(store.list(""))
    store.delete(["key"])
    assert waits == [0.02] * 4


def test_what_is_done_while_a_put_is_on_its_way_is_in_its_delay() -> None:
    waits: list[float] = []
    now_s = [0.0]
    answered: list[bool] = []

    def work(is_answered: IsAnswered) -> None:
        for later_s in (0.015, 0.03):
            now_s.append(later_s)
            answered.append(is_answered())

    with meanwhile(work):
        DelayedStore(MemoryStore(), 0.02, waits.append, lambda: now_s[-1]).put("key", b"", ABSENT)

    assert answered == [False, True]
    assert waits == [0.0]
