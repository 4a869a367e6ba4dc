"""What happened, counted and timed: the events that tests, metrics and logs are made from.

Events carry shapes only (names, counts, bytes, seconds): never content, paths or messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from memrepo.clock import Clock, steady_clock
from memrepo_worker.tracing import TurnTrace


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """How one request went, from the queue to its answer.

    ``outcome`` is ``done``, ``failed`` or ``cancelled``; ``error`` the class of what it failed with, ``summary`` the
    shape of its result: shas and counts. ``group`` is how many requests shared its turn, and so ``work_s`` and
    ``store_s``.

    The phases are in seconds and follow each other, but that work and store take turns; ``total_s`` is their sum.
    ``queue_s`` (until a worker took it) is by two machines' wall clocks, the others by this process's steady clock:
    ``mailbox_s`` until its turn began, ``work_s`` of our own, ``store_s`` of waiting for the store (pauses between
    tries count), ``answer_s`` until its result was stored and its message acknowledged.
    """

    operation: str
    agent: str | None
    request_id: str
    job_id: str
    outcome: str
    error: str | None
    summary: str | None
    group: int
    queue_s: float
    mailbox_s: float
    work_s: float
    store_s: float
    answer_s: float

    @property
    def total_s(self) -> float:
        """How long it took, from when it was enqueued."""
        return self.queue_s + self.mailbox_s + self.work_s + self.store_s + self.answer_s


Listener = Callable[[RequestEnded], None]


class Observer(Protocol):
    """Whoever wants to know. Must be quick, thread-safe, and never raise."""

    def count(self, event: str, amount: int = 1) -> None:
        """Note that something happened ``amount`` times, e.g. ``store.put.requests`` or ``process.started``."""
        ...

    def measure(self, what: str, value: int) -> None:
        """Note how much there is of something now, e.g. ``cache.disk_bytes``."""
        ...

    @property
    def hears_requests(self) -> bool:
        """Whether it is of use to say how each request went."""
        ...

    def request_ended(self, request: RequestEnded) -> None:
        """Note how a request went."""
        ...


class Counters:
    """An observer that adds up; the worker's own, read by ``celery inspect`` and by tests.

    What is said of single requests goes to listeners.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._levels: dict[str, int] = {}
        self._listeners: list[Listener] = []

    def count(self, event: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[event] += amount

    def measure(self, what: str, value: int) -> None:
        """Note how much there is of something now."""
        self._levels[what] = value

    @property
    def levels(self) -> Mapping[str, int]:
        """How much there is of what was measured."""
        return dict(self._levels)

    def listen(self, listener: Listener) -> None:
        """Have a listener told how each request went; it must be quick, and never raise."""
        self._listeners.append(listener)

    @property
    def hears_requests(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def request_ended(self, request: RequestEnded) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener(request)

    def snapshot(self) -> Mapping[str, int]:
        """Return all counters as they are now."""
        with self._lock:
            return dict(self._counts)


class Stopwatch:
    """Adds up the time during which at least one of several steps was under way. Thread-safe."""

    def __init__(self, clock: Clock = steady_clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way = 0
        self._began_s = 0.0
        self.seconds = 0.0

    def __enter__(self) -> Stopwatch:
        with self._lock:
            if self._under_way == 0:
                self._began_s = self._clock()
            self._under_way += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._under_way -= 1
            if self._under_way == 0:
                self.seconds += self._clock() - self._began_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done within the block, by a thread whose step is under way."""
        if not self._under_way:
            yield
            return
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    @property
    def under_way_s(self) -> float:
        """How long the present step lasts already; 0 where none is under way."""
        with self._lock:
            return self._clock() - self._began_s if self._under_way else 0.0


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """When a turn's work ended, on the steady clock, and how much of it was waiting for the store.

    ``began_s`` is when it began, where that was later than the mark that its requests were started: a group whose first
    requests took a whole turn goes on in another. ``trace`` is its span, where there is one.
    """

    ended_s: float
    store_s: float
    began_s: float = 0.0
    trace: TurnTrace | None = None


_STORE_WAITS: ContextVar[Stopwatch | None] = ContextVar("memrepo_store_waits", default=None)


@contextmanager
def measuring_store_waits() -> Iterator[Stopwatch]:
    """Within the block, add up how long this thread, and those that work for it, wait for the store."""
    watch = Stopwatch()
    token = _STORE_WAITS.set(watch)
    try:
        yield watch
    finally:
        _STORE_WAITS.reset(token)


def store_waited_s() -> float:
    """Return how long was waited for the store so far, within the block that measures it."""
    watch = _STORE_WAITS.get()
    return watch.seconds if watch is not None else 0.0


def store_wait() -> AbstractContextManager[object]:
    """Mark a block as waiting for the store."""
    return _STORE_WAITS.get() or nullcontext()


def no_store_wait() -> AbstractContextManager[object]:
    """Mark a block, within one that waits for the store, as computing meanwhile."""
    watch = _STORE_WAITS.get()
    return nullcontext() if watch is None else watch.paused()
