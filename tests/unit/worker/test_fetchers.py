"""Threads for the store are given to turns one piece of work at a time, however much a turn has asked for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from memrepo_worker.threads.fetchers import Fetchers, Lane
from memrepo_worker.threads.giving_way import Pace, keeping
from memrepo_worker.threads.usual_work import UsualWork
from tests.support.waiting import wait_for

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


@pytest.mark.timeout(2 * TIMEOUT_S)
def test_so_it_does_where_there_was_no_memory_to_note_what_that_took(monkeypatch: pytest.MonkeyPatch) -> None:
    noted = threading.Event()

    def note(*_: object) -> None:
        noted.set()
        raise MemoryError

    with Fetchers(1) as fetchers:
        with monkeypatch.context() as no_memory:
            no_memory.setattr(UsualWork, "note", note)
            assert fetchers.lane().submit(int, "6").result(TIMEOUT_S) == 6
            assert noted.wait(TIMEOUT_S)
        assert fetchers.lane().submit(int, "7").result(TIMEOUT_S) == 7


@pytest.mark.timeout(2 * TIMEOUT_S)
def test_what_waits_is_begun_also_where_there_was_no_memory_to_note_what_was_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def note(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(UsualWork, "note", note)
    go = threading.Event()
    with Fetchers(1) as fetchers:
        fetchers.lane().submit(go.wait, TIMEOUT_S)
        waiting = fetchers.lane().submit(int, "7")
        go.set()

        assert waiting.result(TIMEOUT_S) == 7


@pytest.mark.timeout(2 * TIMEOUT_S)
def test_who_asked_is_told_where_there_is_no_memory_to_count_what_it_took() -> None:
    class Forgetful(Pace):
        def owe(self, worked_s: float) -> float:
            raise MemoryError

    with Fetchers(1) as fetchers:
        with keeping(Forgetful(lambda: True)):
            asked = fetchers.lane().submit(int, "7")
        with pytest.raises(MemoryError):
            asked.result(TIMEOUT_S)


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


def test_a_lane_whose_requests_hang_takes_no_more_threads_and_does_not_count() -> None:
    now_s = [0.0]
    go = threading.Event()
    done: list[str] = []
    with Fetchers(2, hanging_max=2, clock=lambda: now_s[0]) as fetchers:
        hanging = fetchers.lane()
        begun = [threading.Event() for _ in range(3)]

        def hang(number: int) -> None:
            begun[number].set()
            go.wait(TIMEOUT_S)

        hung = [hanging.submit(hang, number) for number in range(3)]
        assert all(each.wait(TIMEOUT_S) for each in begun[:2])
        now_s[0] = 1.0
        well = [fetchers.lane().submit(done.append, "well") for _ in range(10)]
        for future in well:
            future.result(TIMEOUT_S)
        assert not begun[2].is_set()
        go.set()
        for future in hung:
            future.result(TIMEOUT_S)

    assert done == ["well"] * 10


def test_no_more_of_what_hangs_has_threads_than_may() -> None:
    now_s = [0.0]
    go = threading.Event()
    begun: list[int] = []
    with Fetchers(2, hanging_max=1, clock=lambda: now_s[0]) as fetchers:

        def hang(number: int) -> None:
            begun.append(number)
            go.wait(TIMEOUT_S)

        for number in range(20):  # each in a lane of its own, and hanging since before the next
            fetchers.lane().submit(hang, number)
            now_s[0] += 1.0
        wait_for(lambda: len(begun) == 3, "as many hang as may")
        assert len(fetchers.waiting) == 17
        go.set()

    assert sorted(begun) == list(range(20))


def test_who_wants_a_result_that_nobody_has_begun_does_it_himself() -> None:
    go = threading.Event()
    with Fetchers(1) as fetchers:
        fetchers.lane().submit(go.wait, TIMEOUT_S)
        lane = fetchers.lane()
        later = lane.submit(threading.get_ident)
        assert lane.submit(threading.get_ident).result() == threading.get_ident()
        assert list(lane.map(str, range(100))) == [str(number) for number in range(100)]
        assert not later.done()
        go.set()
        assert later.result(TIMEOUT_S) != threading.get_ident()


class Computing:
    """Work that takes a while of a processor."""

    def __init__(self, seconds: float) -> None:
        self.until_s = seconds
        self.threads: list[str] = []

    def __call__(self) -> None:
        began_s = time.thread_time()
        while time.thread_time() - began_s < self.until_s:
            pass
        self.threads.append(threading.current_thread().name)


def test_what_fetching_computes_is_counted_for_the_turn_that_asked_and_its_lane_rests() -> None:
    rests: list[float] = []
    pace = Pace(lambda: True)
    work = Computing(0.003)
    with Fetchers(2, sleep=rests.append) as fetchers:
        lane = fetchers.lane()
        with keeping(pace):
            asked = [lane.submit(work) for _ in range(4)]
        for future in asked:
            future.result(TIMEOUT_S)

    assert len(work.threads) == 4
    assert len(rests) == 4
    assert min(rests) >= 0.003, "as long as it computed, and longer where another did so beside it"
    assert pace.used_elsewhere_s >= 4 * 0.003


def test_a_lane_that_rests_keeps_no_other_waiting() -> None:
    rested, go = threading.Event(), threading.Event()

    def rest(_seconds: float) -> None:
        rested.set()
        go.wait(TIMEOUT_S)

    with Fetchers(1, hanging_max=2, sleep=rest) as fetchers:
        heavy, light = fetchers.lane(), fetchers.lane()
        done: list[str] = []
        with keeping(Pace(lambda: True)):
            heavy.submit(Computing(0.002))
            heavy.submit(done.append, "heavy")
        assert rested.wait(TIMEOUT_S)
        light.submit(done.append, "light").result(TIMEOUT_S)
        assert done == ["light"]
        go.set()


def test_a_turn_without_a_pace_rests_nowhere() -> None:
    rests: list[float] = []
    with Fetchers(1, sleep=rests.append) as fetchers:
        fetchers.lane().submit(Computing(0.002)).result(TIMEOUT_S)
    assert rests == []


class Store:
    """A store that is so far away: clocks that say how long its requests wait, and compute for a millisecond each."""

    def __init__(self, waits_s: float) -> None:
        self.now_s = 0.0
        self._waits_s = waits_s
        self._used = threading.local()

    def clock(self) -> float:
        return self.now_s

    def cpu_clock(self) -> float:
        used_s: float = getattr(self._used, "seconds", 0.0)
        return used_s

    def ask(self) -> None:
        self._used.seconds = self.cpu_clock() + 0.001
        self.now_s += 0.001 + self._waits_s


@pytest.mark.parametrize(
    ("is_shared", "waits_s", "under_way"),
    [(True, 0.0, 2), (True, 0.002, 2), (True, 0.008, 5), (True, 0.1, 16), (False, 0.002, 16)],
    ids=["nothing", "a near one", "a farther one", "a far one", "nobody else"],
)
def test_so_much_of_a_turn_is_under_way_as_keeps_its_share_of_a_processor_busy(
    is_shared: bool, waits_s: float, under_way: int
) -> None:
    store, go = Store(waits_s), threading.Event()
    with Fetchers(16, clock=store.clock, cpu_clock=store.cpu_clock, sleep=lambda _: None) as fetchers:
        for _ in range(3):
            fetchers.lane().submit(store.ask).result(TIMEOUT_S)
            wait_for(lambda: fetchers.under_way == 0, "it to be counted", TIMEOUT_S)
        lane, other = fetchers.lane(), fetchers.lane()
        with keeping(Pace(lambda: is_shared)):
            asked = [lane.submit(go.wait, TIMEOUT_S) for _ in range(20)]
        assert (fetchers.under_way, sum(fetchers.waiting)) == (under_way, 20 - under_way)
        if under_way < 16:  # nobody else's are fewer for that
            few = [other.submit(go.wait, TIMEOUT_S) for _ in range(4)]
            assert fetchers.under_way == under_way + 4
            asked += few
        go.set()
        assert all(future.result(TIMEOUT_S) for future in asked)


def test_all_of_a_turn_goes_on_when_nobody_else_comes_any_more() -> None:
    others, go, more = [True], threading.Event(), threading.Event()
    store = Store(0.0)
    with Fetchers(16, clock=store.clock, cpu_clock=store.cpu_clock, sleep=lambda _: None) as fetchers:
        fetchers.lane().submit(store.ask).result(TIMEOUT_S)
        wait_for(lambda: fetchers.under_way == 0, "it to be counted", TIMEOUT_S)
        lane = fetchers.lane()
        with keeping(Pace(lambda: others[0])):
            first = lane.submit(go.wait, TIMEOUT_S)
            rest = [lane.submit(more.wait, TIMEOUT_S) for _ in range(10)]
        others[0] = False
        go.set()
        assert first.result(TIMEOUT_S)
        wait_for(lambda: fetchers.under_way == 10, "the others to begin", TIMEOUT_S)
        more.set()
        assert all(future.result(TIMEOUT_S) for future in rest)
