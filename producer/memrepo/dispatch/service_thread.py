"""A daemon thread of a client: started at first use, and begun anew where a fault of ours has ended its work."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

PAUSE_S = 0.2  # before it begins anew, so that a fault that stays costs little

log = logging.getLogger(__name__)


class ServiceThread:
    """Does its work until that returns. Thread-safe."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        """``work`` returns when there is nothing more to do; what it raises is a fault of ours, and it is called again.

        So it has to see to what it had in hand before it raises.
        """
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._thread is not None

    def start(self) -> None:
        """Start it, unless it runs; also where it was ended from outside.

        Raises:
            RuntimeError: there can be no more threads, as when the interpreter exits.
        """
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread

    def join(self, timeout_s: float) -> bool:
        """Return when its work is done, or the time is over; at once in the thread itself.

        True: there is nothing more to wait for.
        """
        if self._thread is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                return self._work()
            except BaseException as error:  # noqa: BLE001 - whatever it was: jobs wait for this thread
                log.error("%s failed by a fault of memrepo itself: %s", self._name, type(error).__name__)
            threading.Event().wait(PAUSE_S)
