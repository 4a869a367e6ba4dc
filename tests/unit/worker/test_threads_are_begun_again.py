"""A thread that the machine did not give once is begun when it is next needed, and nobody waits for it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from celery.concurrency.thread import TaskPool

from memrepo_worker.group import Agent
from memrepo_worker.observe import Counters
from memrepo_worker.queues.consumer.intake import lend_thread
from memrepo_worker.queues.consumer.refusals import Refusals
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.transport.messages import Refused
from memrepo_worker.scheduling.timer import Soon, Timer
from memrepo_worker.store.backends.time_limits import TimeLimits
from memrepo_worker.store.identity import IdentityGuard, IdentityWatch
from memrepo_worker.store.interface import UnavailableError
from memrepo_worker.threads.beginning import begin_thread, bound_starts
from memrepo_worker.threads.fetchers import Fetchers
from memrepo_worker.upkeep.runner import Job, UpkeepRunner
from tests.support.waiting import wait_for

TIMEOUT_S = 20


@pytest.fixture
def first_is_refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The machine gives the first thread that is asked for to nobody, as at a limit on processes."""
    refused: list[str] = []
    start = threading.Thread.start

    def start_all_but_the_first(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread.name)
            no_thread(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_all_but_the_first)
    yield refused
    assert refused, "no thread was asked for"


@pytest.mark.usefixtures("first_is_refused")
def test_what_is_due_is_called_once_there_is_a_thread_for_it() -> None:
    timer, called = Timer(), threading.Semaphore(0)
    for _ in range(2):
        timer.after(0.0, called.release)

    assert called.acquire(timeout=TIMEOUT_S)
    assert called.acquire(timeout=TIMEOUT_S)
    timer.stop()


@pytest.mark.usefixtures("first_is_refused")
def test_what_is_asked_for_again_is_called_once_there_is_a_thread_for_it() -> None:
    timer, called = Timer(), threading.Semaphore(0)
    soon = Soon(timer, 0.0, called.release)
    for _ in range(2):
        soon()

    assert called.acquire(timeout=TIMEOUT_S)
    timer.stop()


@pytest.mark.usefixtures("first_is_refused")
def test_refused_messages_are_removed_once_there_is_a_thread_for_it() -> None:
    removed = threading.Semaphore(0)

    class Removing:
        def fail(self, refused: list[Refused], *_: object) -> list[str]:
            return ["" for _ in refused]

        def ensure_acknowledged(self, _messages: object, _shard: object, numbers: dict[str, str]) -> bool:
            removed.release(len(numbers))
            return True

    nobody = cast("Any", None)
    refusals = Refusals(cast("Any", Removing()), nobody, nobody, nobody, Counters(), together=False)
    for number in ("1", "2"):
        refusals.refuse(Refused("shape", OwnedShard(0, "token", 0.0), number))

    assert removed.acquire(timeout=TIMEOUT_S)
    assert removed.acquire(timeout=TIMEOUT_S)


@pytest.mark.usefixtures("first_is_refused")
def test_upkeep_is_done_once_there_is_a_thread_for_it() -> None:
    runner, done = UpkeepRunner(Counters()), threading.Semaphore(0)
    for agent in ("a", "b"):
        assert runner.submit(Job("fold", Agent("acme", agent), lambda _: done.release()))

    assert done.acquire(timeout=TIMEOUT_S)
    assert done.acquire(timeout=TIMEOUT_S)
    runner.close()


@pytest.mark.usefixtures("first_is_refused")
def test_a_stores_requests_are_kept_to_their_time_once_there_is_a_thread_for_it() -> None:
    limits = TimeLimits("s3://bucket", limit_s=0.01)

    with limits.request():
        pass
    with pytest.raises(UnavailableError), limits.request() as late:
        wait_for(lambda: late.is_cut, "it to be ended")


@pytest.mark.usefixtures("first_is_refused")
def test_a_stores_identity_is_looked_at_once_there_is_a_thread_for_it() -> None:
    looked = threading.Event()

    class Guard:
        def confirm(self) -> None:
            looked.set()

    watch = IdentityWatch(cast("IdentityGuard", Guard()), every_s=0.01)
    for _ in range(2):
        watch.check()

    assert looked.wait(TIMEOUT_S)
    watch.close()


@pytest.mark.usefixtures("first_is_refused")
def test_what_is_fetched_is_fetched_once_there_is_a_thread_for_it() -> None:
    with Fetchers(2) as fetchers:
        done = threading.Semaphore(0)
        for lane in (fetchers.lane(), fetchers.lane()):
            lane.submit(done.release)

        assert done.acquire(timeout=TIMEOUT_S)
        assert done.acquire(timeout=TIMEOUT_S)


def test_what_is_fetched_is_fetched_by_who_wants_it_where_there_is_no_thread_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[int] = []
    with monkeypatch.context() as no_more, Fetchers(2) as fetchers:
        no_more.setattr(threading.Thread, "start", no_thread)
        fetches = [fetchers.lane().submit(done.append, number) for number in range(2)]
        for fetch in fetches:
            fetch.result()
        fetchers.lane().submit(done.append, 2)  # which nobody wants before all is to be over

    assert done == [0, 1, 2]


def test_a_turn_that_gets_no_thread_of_its_own_is_taken_by_one_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, held, done = TaskPool(2), threading.Event(), threading.Event()

    def hold() -> None:
        held.wait(TIMEOUT_S)

    lend_thread(pool, hold)
    with monkeypatch.context() as no_more:
        no_more.setattr(threading.Thread, "start", no_thread)
        lend_thread(pool, done.set)

    assert not done.is_set()
    held.set()
    assert done.wait(TIMEOUT_S)
    pool.on_stop()
    lend_thread(pool, done.clear)
    assert done.is_set()


@pytest.mark.timeout(TIMEOUT_S)
def test_a_thread_that_never_begins_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is where a thread was made, and there is no memory for its first step."""
    name = next(name for name in ("_start_joinable_thread", "_start_new_thread") if hasattr(threading, name))
    start, here = getattr(threading, name), threading.get_ident()

    def start_those_of_others(*args: Any, **kwargs: Any) -> Any:
        return 1 if threading.get_ident() == here else start(*args, **kwargs)

    monkeypatch.setattr(threading, name, start_those_of_others)
    monkeypatch.setattr("memrepo_worker.threads.beginning.BEGIN_LOOKS_MAX", 1)
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # is again what it was
    bound_starts()

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="did not begin"):
        pool.submit(int)
    assert begin_thread("memrepo-test", lambda: None) is None


def test_what_a_library_has_set_in_the_place_of_start_is_called_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library that follows requests into threads may be set up once the worker's modules were imported."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_and_follow(thread: threading.Thread) -> None:
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_and_follow)
    for _ in range(2):
        bound_starts()

    thread = begin_thread("memrepo-test", lambda: None)

    assert thread is not None
    thread.join(TIMEOUT_S)
    assert started.count(thread) == 1


class OtherEvent:
    """What a later Python may wait for: in it there is no place for a ``wait`` of ours."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._event, name)

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout)


def test_a_thread_of_a_python_that_waits_in_another_way_is_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # is again what it was
    bound_starts()
    begun = threading.Event()
    thread = threading.Thread(target=begun.set)
    thread._started = OtherEvent()  # type: ignore[attr-defined] # private

    thread.start()

    assert begun.wait(TIMEOUT_S)
    thread.join(TIMEOUT_S)


def test_a_thread_that_was_never_made_is_told_so_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unmade(threading.Thread):
        def __init__(self) -> None:
            pass

    monkeypatch.setattr(threading.Thread, "start", threading.Thread.start)  # is again what it was
    bound_starts()

    with pytest.raises(RuntimeError, match="__init__"):
        Unmade().start()


def test_one_that_begins_when_nobody_waits_for_it_any_more_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[threading.Thread] = []
    done: list[str] = []

    def give_up(thread: threading.Thread) -> None:
        made.append(thread)
        no_thread(thread)

    monkeypatch.setattr(threading.Thread, "start", give_up)
    assert begin_thread("memrepo-test", lambda: done.append("too late")) is None

    made[0].run()

    assert done == []


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
