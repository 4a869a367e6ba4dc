"""Daemon threads of a client: started at first use, one at a time, begun anew where a fault of ours ended the work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

PAUSE_S = 0.2  # before it begins anew, so that a fault that stays costs little

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Serving:
    thread: threading.Thread
    ended: threading.Event = field(default_factory=threading.Event)  # said by the thread itself


class ServiceThread:
    """Does its work until that returns; never in two threads at a time. Thread-safe."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        """``work`` returns when there is nothing more to do; what it raises is a fault of ours, and it is called again.

        So it has to see to what it had in hand before it raises.
        """
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._serving: _Serving | None = None  # the last thread that was given the work

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._serving is not None

    def start(self) -> None:
        """Start it, unless it runs; also where it was ended from outside.

        Raises:
            RuntimeError: there can be no more threads, as when the interpreter exits.
        """
        if self._runs():
            return
        with self._lock:
            if not self._runs():
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()  # a signal handler may raise here though the thread runs: it is given no work then
                self._serving = _Serving(thread)

    def _runs(self) -> bool:
        """Say what is_alive() does, which is false for good where a signal handler raised in it, or in a join()."""
        return self._serving is not None and not self._serving.ended.is_set()

    def join(self, timeout_s: float) -> bool:
        """Return when its work is done, or the time is over; at once in the thread itself.

        True: there is nothing more to wait for.
        """
        serving = self._serving
        if serving is None or serving.thread is threading.current_thread():
            return True
        return serving.ended.wait(timeout_s)

    def _run(self) -> None:
        with self._lock:  # until start() is over, however it ended
            serving = self._serving
        if serving is None or serving.thread is not threading.current_thread():
            return
        try:
            self._work_until_done()
        finally:
            serving.ended.set()

    def _work_until_done(self) -> None:
        while True:
            try:
                return self._work()
            except BaseException as error:  # noqa: BLE001 - whatever it was: jobs wait for this thread
                log.error("%s failed by a fault of memrepo itself: %s", self._name, type(error).__name__)
            threading.Event().wait(PAUSE_S)


class SerialExecutor:
    """Does one thing after the other in a thread that the interpreter does not wait for at exit. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, Callable[[], None]] = {}  # in order, with what is being done
        self._closed = False
        self._thread = ServiceThread(name, self._run)

    def submit(self, key: str, work: Callable[[], None]) -> None:
        """Have it done, unless something of the same key waits or is being done. Never blocks.

        ``work`` must not raise. Nothing is done any more when this was closed, or the interpreter exits.
        """
        with self._changed:
            if self._closed or key in self._waiting:
                return
            with suppress(RuntimeError):  # there can be no more threads
                self._thread.start()
                self._waiting[key] = work
                self._changed.notify()

    def close(self) -> None:
        """Do nothing more than what is being done; that is not waited for."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (key := self._next()) is not None:
            try:
                self._do(key)
            finally:
                self._waiting.pop(key, None)  # closed meanwhile

    def _do(self, key: str) -> None:
        if (work := self._waiting.get(key)) is not None:
            work()

    def _next(self) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else next(iter(self._waiting))
