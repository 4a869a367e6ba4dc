"""Threads that wait for the store on behalf of turns: each turn has a lane, and lanes get threads in turn.

So an agent that has a thousand entries to fetch keeps nobody waiting who needs three. Nor does one whose store hangs: a
request that hangs is not counted, its lane gets no further threads meanwhile, and what nobody has begun when its result
is wanted is done by who wants it, so that each turn goes on by its own thread at least.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, ParamSpec, TypeVar

from typing_extensions import override

from memrepo.clock import Clock, steady_clock

P = ParamSpec("P")
T = TypeVar("T")

HANGS_S = 0.5
"""A request that takes longer hangs; so it is with turns."""


class Fetchers:
    """A number of threads, shared by lanes. A context manager: leaving it waits for what was asked.

    Up to ``hanging_max`` requests that hang have threads beyond ``threads_max``.
    """

    def __init__(self, threads_max: int, hanging_max: int = 0, clock: Clock = steady_clock) -> None:
        self._threads_max = threads_max
        self._hanging_max = hanging_max
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads_max + hanging_max, thread_name_prefix="memrepo-fetch")
        self._lock = threading.Condition()
        self._lanes: deque[Lane] = deque()  # those in which something waits, the next first
        self._running: dict[Fetch[Any], float] = {}  # since when

    def __enter__(self) -> Fetchers:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._lanes and not self._running)
        self._pool.shutdown(wait=True, cancel_futures=False)

    def lane(self) -> Lane:
        """Return a new lane."""
        return Lane(self)

    @property
    def waiting(self) -> list[int]:
        """How much waits in each lane in which something does."""
        with self._lock:
            return [len(lane.waiting) for lane in self._lanes]

    def take(self, fetch: Fetch[Any]) -> None:
        """Have it done after what waits in its lane already, and after one of each other lane."""
        with self._lock:
            if not fetch.lane.waiting:
                self._lanes.append(fetch.lane)
            fetch.lane.waiting[fetch] = None
            self._begin_more()

    def do_now(self, fetch: Fetch[Any]) -> None:
        """Do it in this thread, if it still waits."""
        with self._lock:
            if fetch not in fetch.lane.waiting:
                return
            self._take_out(fetch)
        fetch.do()
        with self._lock:
            self._begin_more()

    def _take_out(self, fetch: Fetch[Any]) -> None:
        lane = fetch.lane
        del lane.waiting[fetch]
        if not lane.waiting:
            self._lanes.remove(lane)
            self._lock.notify_all()

    def _begin_more(self) -> None:
        """Give threads to what waits, as far as there are any: of whichever lane has waited longest."""
        if not self._lanes:
            return
        now_s = self._clock()
        hanging = [fetch for fetch, since_s in self._running.items() if now_s - since_s >= HANGS_S]
        hanging_lanes = {fetch.lane for fetch in hanging}
        room = self._threads_max + min(len(hanging), self._hanging_max) - len(self._running)
        while room > 0 and (lane := next((each for each in self._lanes if each not in hanging_lanes), None)):
            fetch = next(iter(lane.waiting))
            self._take_out(fetch)
            if lane.waiting:  # the others come before it now
                self._lanes.remove(lane)
                self._lanes.append(lane)
            self._running[fetch] = now_s
            self._pool.submit(self._run, fetch)
            room -= 1

    def _run(self, fetch: Fetch[Any]) -> None:
        fetch.do()
        with self._lock:
            del self._running[fetch]
            self._begin_more()
            self._lock.notify_all()


class Lane(Executor):
    """One turn's requests to the store that may go side by side.

    They run in the context of who asked for them: what they wait for is his waiting.
    """

    def __init__(self, fetchers: Fetchers) -> None:
        self._fetchers = fetchers
        self.waiting: OrderedDict[Fetch[Any], None] = OrderedDict()

    @override
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have it called in a copy of the caller's context."""
        fetch = Fetch(self, partial(copy_context().run, partial(fn, *args, **kwargs)))
        self._fetchers.take(fetch)
        return fetch

    def do_now(self, fetch: Fetch[Any]) -> None:
        """Do it in this thread, if it still waits."""
        self._fetchers.do_now(fetch)


class Fetch(Future[T]):
    """One request of a lane. Who wants its result, however long that takes, does it where nobody has begun it yet."""

    def __init__(self, lane: Lane, work: Callable[[], T]) -> None:
        super().__init__()
        self.lane = lane
        self._work = work

    @override
    def result(self, timeout: float | None = None) -> T:
        """Return its result; with a ``timeout`` it is left to the lane's threads."""
        if timeout is None:
            self.lane.do_now(self)
        return super().result(timeout)

    def do(self) -> None:
        """Do it, unless it was called off. Never raises: whoever asked for it gets what it raised."""
        if not self.set_running_or_notify_cancel():
            return
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - as said
            self.set_exception(error)
        else:
            self.set_result(result)
