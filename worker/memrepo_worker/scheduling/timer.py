"""Calls back at a later time: one thread for all that waits, and none while nothing does."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from itertools import count

from memrepo.clock import Clock, steady_clock
from memrepo_worker.logs import log
from memrepo_worker.threads.beginning import begin_thread

logger = logging.getLogger(__name__)

_IDLE_S = 5.0


class Timer:
    """Thread-safe. What it calls must be quick; what is not wanted any more is called all the same.

    Where the machine gives it no thread just now, what is due waits until it is asked for something else.
    """

    def __init__(self, clock: Clock = steady_clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._numbers = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None
        self._stopped = False

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call it from another thread when the time has come."""
        with self._changed:
            if self._stopped:
                return
            heapq.heappush(self._due, (self._clock() + delay_s, next(self._numbers), call))
            if self._thread is not None:
                self._changed.notify()
                return
            self._thread = begin_thread("memrepo-timer", self._run)

    def go_on(self) -> None:
        """See again whether there is a thread for what is due, where the machine gave none."""
        with self._changed:
            if self._thread is None and self._due:
                self._thread = begin_thread("memrepo-timer", self._run)

    def stop(self) -> None:
        """Call nothing any more. Final."""
        with self._changed:
            self._stopped = True
            self._due.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 - the others are called all the same
                log(logger, logging.ERROR, "timer.fault", "what was due could not be begun", {}, error)

    def _next(self) -> Callable[[], None] | None:
        """Wait for what is due next; None: there was nothing for a while."""
        with self._changed:
            while True:
                if not self._due and not self._stopped:
                    self._changed.wait(_IDLE_S)
                if not self._due:
                    self._thread = None
                    return None
                wait_s = self._due[0][0] - self._clock()
                if wait_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait_s)


class Soon:
    """Has something called back after a while, once, however often it is asked for meanwhile. From any thread."""

    def __init__(self, timer: Timer, delay_s: float, call: Callable[[], None]) -> None:
        self._timer = timer
        self._delay_s = delay_s
        self._call = call
        self._asked = False

    def __call__(self) -> None:
        """Have it called, unless it is going to be."""
        if self._asked:
            self._timer.go_on()
            return
        self._asked = True
        self._timer.after(self._delay_s, self._come)

    def _come(self) -> None:
        self._asked = False  # before the call, which may ask again, as others may by now
        self._call()
