"""A client's own threads: one at a time, whatever a signal handler raises as they begin; exit waits for none."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from memrepo.dispatch.service_thread import SerialExecutor, ServiceThread
from memrepo.jobs.job import Job
from tests.support.waiting import wait_for


class Work:
    """What goes on until it is ended, in how many threads."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.begun = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def __call__(self) -> None:
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.end.wait(20)


@pytest.fixture
def work() -> Iterator[Work]:
    one = Work()
    yield one
    one.end.set()


def interrupted(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """Have that method of threads do what it does, and a signal handler then raise in it."""
    real = getattr(threading.Thread, name)

    def raising(self: threading.Thread, *args: Any) -> Any:
        real(self, *args)
        raise KeyboardInterrupt

    return monkeypatch.setattr(threading.Thread, name, raising)


def test_one_thread_serves_where_the_first_start_was_interrupted(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = ServiceThread("one-of-these", work)
    with monkeypatch.context() as patch:
        interrupted(patch, "start")
        with pytest.raises(KeyboardInterrupt):
            service.start()

    service.start()

    assert work.begun.acquire(timeout=20)
    wait_for(
        lambda: [one for one in threading.enumerate() if one.name == "one-of-these"] == work.threads,
        "the thread that has no place to end",
    )
    work.end.set()
    assert service.join(20)
    assert len(work.threads) == 1


def test_a_thread_that_is_taken_for_ended_while_it_lives_has_no_second_one(work: Work) -> None:
    service = ServiceThread("service", work)
    service.start()
    assert work.begun.acquire(timeout=20)
    thread = work.threads[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread, "is_alive", lambda: False)  # as CPython 3.11 says after an interrupted join()
        patch.setattr(thread, "join", lambda _timeout_s=None: None)

        service.start()

        assert not service.join(0)
        assert not work.begun.acquire(timeout=0.1)


def test_it_is_begun_anew_once_its_work_is_done(work: Work) -> None:
    service = ServiceThread("service", work)
    work.end.set()
    for _ in range(2):
        service.start()
        assert work.begun.acquire(timeout=20)
        assert service.join(20)

    assert len(work.threads) == 2


def test_of_one_key_one_thing_waits_or_is_done() -> None:
    executor, done, held = SerialExecutor("serial"), [], threading.Event()
    executor.submit("a", lambda: done.append("a") if held.wait(20) else None)
    for turn in range(100):
        executor.submit("a", lambda: done.append("a again"))
        executor.submit("b", lambda turn=turn: done.append(f"b {turn}"))  # type: ignore[misc]

    held.set()

    wait_for(lambda: done == ["a", "b 0"], "all to be done")
    executor.submit("a", lambda: done.append("a later"))
    wait_for(lambda: done == ["a", "b 0", "a later"], "what came after it to be done")
    executor.close()


def test_nothing_that_waits_is_done_after_the_end() -> None:
    executor, done, held, begun = SerialExecutor("serial"), [], threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert held.wait(20)

    executor.submit("a", hold)
    executor.submit("b", lambda: done.append("b"))
    assert begun.wait(20)

    executor.close()
    executor.submit("c", lambda: done.append("c"))
    held.set()

    assert executor._thread.join(20)
    assert done == []


def test_a_program_ends_while_something_is_being_done() -> None:
    program = """
import threading
from memrepo.dispatch.service_thread import SerialExecutor
begun, executor = threading.Event(), SerialExecutor("serial")
executor.submit("a", lambda: (begun.set(), threading.Event().wait()))
executor.submit("b", print)
begun.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=50, check=False).returncode == 0


def test_a_job_whose_making_was_interrupted_goes_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def init(_: Job[object]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "__init__", init)
    with suppress(KeyboardInterrupt):
        Job()  # type: ignore[call-arg]
    gc.collect()

    assert unraisable == []
