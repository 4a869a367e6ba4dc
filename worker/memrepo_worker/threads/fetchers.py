"""Threads that wait for the store on behalf of turns: each turn has a lane, and lanes get threads in turn.

So an agent that has a thousand entries to fetch keeps nobody waiting who needs three. Nor does one whose store hangs: a
request that hangs is not counted, its lane gets no further threads meanwhile, and what nobody has begun when its result
is wanted is done by who wants it, so that each turn goes on by its own thread at least.

What they compute is their turn's (signing and reading an answer takes half a millisecond of Python's lock): it counts
for its agent, and where the turn has to rest, so has its lane. Where others want that lock, so few of a lane are under
way as keep its share of a processor busy: sixteen at a near store do nothing sooner, and whoever wants the lock for a
small commit, some ten times, comes after all of them each time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from math import ceil
from typing import Any, ParamSpec, TypeVar

from typing_extensions import override

from memrepo.clock import Clock, steady_clock
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.threads.giving_way import current_pace, give_way
from memrepo_worker.threads.usual_work import UsualWork

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

HANGS_S = 0.5
"""A request that takes longer hangs; so it is with turns."""

_PARTS = 1 + SharingBounds.rest_ratio
"""Of so many parts of a processor heavy turns have one."""


class Fetchers:
    """A number of threads, shared by lanes. A context manager: leaving it waits for what was asked.

    Up to ``hanging_max`` requests that hang have threads beyond ``threads_max``.
    """

    def __init__(
        self,
        threads_max: int,
        hanging_max: int = 0,
        clock: Clock = steady_clock,
        sleep: Callable[[float], None] = time.sleep,
        cpu_clock: Clock = time.thread_time,
    ) -> None:
        self._threads_max = threads_max
        self._hanging_max = hanging_max
        self._clock = clock
        self._sleep = sleep
        self._cpu_clock = cpu_clock
        self._usual = UsualWork()
        self._pool = ThreadPoolExecutor(threads_max + hanging_max, thread_name_prefix="memrepo-fetch")
        self._lock = threading.Condition()
        self._lanes: deque[Lane] = deque()  # those in which something waits, the next first
        self._running: dict[Fetch[Any], float] = {}  # since when
        self._handed_on: set[Fetch[Any]] = set()  # those of them that no thread has begun with yet
        self._resting: Counter[Lane] = Counter()

    def __enter__(self) -> Fetchers:
        return self

    def __exit__(self, *_: object) -> None:
        while (fetch := self._first_waiting()) is not None:  # there may be no thread for it
            self.do_now(fetch)
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

    @property
    def under_way(self) -> int:
        """How much has a thread."""
        with self._lock:
            return len(self._running)

    def _first_waiting(self) -> Fetch[Any] | None:
        with self._lock:
            return next(iter(self._lanes[0].waiting)) if self._lanes else None

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
        give_way()

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
        held_back = {fetch.lane for fetch in hanging} | self._resting.keys()
        room = self._threads_max + min(len(hanging), self._hanging_max) - len(self._running)
        shared_max = self._shared_max
        under_way = Counter(fetch.lane for fetch in self._running)
        while room > 0:
            free = (each for each in self._lanes if each not in held_back)
            lane = next((each for each in free if under_way[each] < shared_max or not each.is_shared), None)
            if lane is None:
                return
            fetch = next(iter(lane.waiting))
            if not self._hand_on(fetch):
                return
            self._take_out(fetch)
            if lane.waiting:  # the others come before it now
                self._lanes.remove(lane)
                self._lanes.append(lane)
            self._running[fetch] = now_s
            under_way[lane] += 1
            room -= 1

    @property
    def _shared_max(self) -> int:
        """How many of a lane are under way while others want Python's lock: as many as keep its share of it busy."""
        busy = self._usual.to_be_busy / _PARTS
        return max(SharingBounds.fetches_shared_min, ceil(min(busy, self._threads_max)))

    def _hand_on(self, fetch: Fetch[Any]) -> bool:
        """Have a thread of the pool come for it; False where the machine gives none just now: it goes on waiting.

        The pool has queued it all the same, for a thread that may never come: so a thread looks whether it is to begin.
        """
        self._handed_on.add(fetch)
        try:
            self._pool.submit(self._run, fetch)
        except RuntimeError as error:
            logger.error("no thread for a request to the store, tried again when there is another: %s", error)
            self._handed_on.discard(fetch)
            return False
        return True

    def _run(self, fetch: Fetch[Any]) -> None:
        with self._lock:
            if fetch not in self._handed_on:
                return
            self._handed_on.remove(fetch)
        began_s = self._clock()
        used_s, rest_s = fetch.do_for_another(self._cpu_clock)
        with self._lock:
            del self._running[fetch]  # first: whatever fails after it, this thread's place is free
            self._lock.notify_all()
            try:
                waited_s = max(0.0, self._clock() - began_s - used_s)
                self._usual.note(used_s, waited_s, _PARTS * self._threads_max)
            except MemoryError:
                pass  # this one is not counted; what waits is to have its thread
            if rest_s > 0:
                self._resting[fetch.lane] += 1
            self._begin_more()
        if rest_s > 0:
            self._sleep(rest_s)
            with self._lock:
                self._resting -= Counter([fetch.lane])  # one that rests no more is in there no more
                self._begin_more()


class Lane(Executor):
    """One turn's requests to the store that may go side by side.

    They run in the context of who asked for them: what they wait for is his waiting.
    """

    def __init__(self, fetchers: Fetchers) -> None:
        self._fetchers = fetchers
        self.waiting: OrderedDict[Fetch[Any], None] = OrderedDict()

    @property
    def is_shared(self) -> bool:
        """Whether what waits first is of a turn beside which others come."""
        first = next(iter(self.waiting), None)
        return first is not None and first.pace is not None and first.pace.is_shared

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
        self.pace = current_pace()
        self._work: Callable[[], T] | None = work

    @override
    def result(self, timeout: float | None = None) -> T:
        """Return its result; with a ``timeout`` it is left to the lane's threads."""
        if timeout is None:
            self.lane.do_now(self)
        return super().result(timeout)

    def do(self) -> None:
        """Do it, unless it was called off. Never raises: whoever asked for it gets what it raised."""
        self._do(lambda: None)

    def do_for_another(self, cpu_clock: Clock = time.thread_time) -> tuple[float, float]:
        """Do it in a thread that is not its turn's; return what it computed, and how long its lane is to rest."""
        began_s, used_s, rest_s = cpu_clock(), 0.0, 0.0

        def owe() -> None:
            nonlocal used_s, rest_s
            used_s = cpu_clock() - began_s
            if self.pace is not None:
                rest_s = self.pace.owe(used_s)

        self._do(owe)
        return used_s, rest_s

    def _do(self, before_it_is_told: Callable[[], None]) -> None:
        # What it was to do may know of this request, and of much that was read: with it goes all of that.
        work, self._work = self._work, None
        if work is None or not self.set_running_or_notify_cancel():
            return
        try:
            try:
                result = work()
            finally:
                before_it_is_told()
        except BaseException as error:  # noqa: BLE001 - as said
            self.set_exception(error)
        else:
            self.set_result(result)
