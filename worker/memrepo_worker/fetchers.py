"""Threads that wait for the store on behalf of turns: each turn has a lane, and lanes get threads in turn.

So an agent that has a thousand entries to fetch keeps nobody waiting who needs three.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from typing_extensions import override

P = ParamSpec("P")
T = TypeVar("T")


class Fetchers:
    """A number of threads, shared by lanes. A context manager: leaving it waits for what was asked."""

    def __init__(self, threads_max: int) -> None:
        self._pool = ThreadPoolExecutor(threads_max, thread_name_prefix="memrepo-fetch")
        self._lock = threading.Lock()
        self._lanes: deque[Lane] = deque()  # those in which something waits, the next first

    def __enter__(self) -> Fetchers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=False)

    def lane(self) -> Lane:
        """Return a new lane."""
        return Lane(self)

    @property
    def waiting(self) -> list[int]:
        """How much waits in each lane in which something does."""
        with self._lock:
            return [len(lane.waiting) for lane in self._lanes]

    def take(self, lane: Lane, work: Callable[[], None]) -> None:
        """Have work of a lane done after what waits in it already, and after one piece of each other lane."""
        with self._lock:
            if not lane.waiting:
                self._lanes.append(lane)
            lane.waiting.append(work)
        self._pool.submit(self._next)

    def _next(self) -> None:
        """Do one piece of work: of whichever lane has waited longest."""
        with self._lock:
            lane = self._lanes.popleft()
            work = lane.waiting.popleft()
            if lane.waiting:
                self._lanes.append(lane)
        work()


class Lane(Executor):
    """One turn's requests to the store that may go side by side.

    They run in the context of who asked for them: what they wait for is his waiting.
    """

    def __init__(self, fetchers: Fetchers) -> None:
        self._fetchers = fetchers
        self.waiting: deque[Callable[[], None]] = deque()

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called in a copy of the caller's context."""
        future: Future[T] = Future()
        work = partial(copy_context().run, partial(_complete, future, partial(fn, *args, **kwargs)))
        self._fetchers.take(self, work)
        return future


def _complete(future: Future[T], work: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whoever asked for it gets it
        future.set_exception(error)
    else:
        future.set_result(result)
