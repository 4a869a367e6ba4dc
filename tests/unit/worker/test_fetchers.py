"""Threads for the store are given to turns one piece of work at a time, however much a turn has asked for."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future

import pytest

from memrepo_worker.fetchers import Fetchers, Lane

TIMEOUT_S = 20


def work(lane: Lane, done: list[str], name: str, count: int) -> list[Future[None]]:
    return [lane.submit(done.append, name) for _ in range(count)]


def test_who_needs_few_waits_for_few_of_who_needs_many() -> None:
    done: list[str] = []
    go = threading.Event()
    with Fetchers(1) as fetchers:
        fetchers.lane().submit(go.wait, TIMEOUT_S)
        many = work(fetchers.lane(), done, "many", 1500)
        few = work(fetchers.lane(), done, "few", 3)
        some = work(fetchers.lane(), done, "some", 3)
        go.set()
        for future in (*few, *some, *many):
            future.result(TIMEOUT_S)

    assert done[:9] == ["many", "few", "some"] * 3
    assert len(done) == 1506


def test_the_results_of_a_lane_come_in_the_order_that_was_asked_for() -> None:
    with Fetchers(4) as fetchers:
        assert list(fetchers.lane().map(str, range(100))) == [str(number) for number in range(100)]


def test_a_failure_is_told_to_who_asked_and_the_thread_goes_on() -> None:
    def fail() -> None:
        raise ValueError("no")

    with Fetchers(1) as fetchers:
        failed = fetchers.lane().submit(fail)
        with pytest.raises(ValueError, match="no"):
            failed.result(TIMEOUT_S)
        assert fetchers.lane().submit(int, "7").result(TIMEOUT_S) == 7


def test_what_was_called_off_is_not_done() -> None:
    done: list[str] = []
    go = threading.Event()
    with Fetchers(1) as fetchers:
        fetchers.lane().submit(go.wait, TIMEOUT_S)
        lane = fetchers.lane()
        (off,) = work(lane, done, "off", 1)
        (on,) = work(lane, done, "on", 1)
        off.cancel()
        go.set()
        on.result(TIMEOUT_S)
        with pytest.raises(CancelledError):
            off.result(TIMEOUT_S)

    assert done == ["on"]
