from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from memrepo_worker.observe import Stopwatch, measuring_store_waits, store_wait
from memrepo_worker.threads.fetchers import Fetchers
from tests.support.hand_clock import HandClock


def test_steps_that_overlap_count_once() -> None:
    clock = HandClock(0.0)
    watch = Stopwatch(clock)
    with ExitStack() as first:
        first.enter_context(watch)
        clock.now_s = 1.0
        with watch:
            clock.now_s = 3.0
        clock.now_s = 4.0
    clock.now_s = 10.0
    with watch:
        clock.now_s = 10.5
    assert watch.seconds == 4.5


def test_a_step_that_fails_counts_too() -> None:
    clock = HandClock(0.0)
    watch = Stopwatch(clock)
    with suppress(ValueError), watch:
        clock.now_s = 2.0
        raise ValueError
    assert watch.seconds == 2.0


def test_what_is_computed_while_the_answer_is_on_its_way_is_no_waiting() -> None:
    clock = HandClock(0.0)
    watch = Stopwatch(clock)
    with watch:
        clock.now_s = 1.0
        with watch.paused():
            clock.now_s = 11.0
        clock.now_s = 13.0
    assert watch.seconds == 3.0
    with watch.paused():
        clock.now_s = 20.0
    assert watch.seconds == 3.0


def test_what_nobody_measures_is_not_kept() -> None:
    with store_wait():
        pass
    with measuring_store_waits() as waited:
        pass
    assert waited.seconds == 0.0


def test_what_fetchers_wait_for_counts_as_the_waiting_of_who_asked_them() -> None:
    with Fetchers(2) as fetchers, measuring_store_waits() as mine:
        assert [each is mine for each in fetchers.lane().map(lambda _: store_wait(), range(2))] == [True] * 2


def test_what_other_threads_wait_for_does_not() -> None:
    with ThreadPoolExecutor(2) as threads, measuring_store_waits() as mine:
        assert [each is mine for each in threads.map(lambda _: store_wait(), range(2))] == [False] * 2
