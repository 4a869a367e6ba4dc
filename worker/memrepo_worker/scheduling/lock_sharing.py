"""How long a thread keeps Python's lock from the others while one of them is served."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHORT_INTERVAL_S = 0.001
"""Python's own is 5 ms. A small commit lets the lock go some ten times, for Redis, the store and the disk, and waits so
long each time to have it back from a thread that computes. While nobody does, a short one only costs: 5 % of a worker's
time per commit where many small ones are served at once."""


class LockSharing:
    """Has threads that compute let Python's lock go more often for as long as any group is heavy. Thread-safe."""

    def __init__(
        self,
        get: Callable[[], float] = sys.getswitchinterval,
        set_to: Callable[[float], None] = sys.setswitchinterval,
    ) -> None:
        self._set_to = set_to
        self._usual_s = get()
        self._lock = threading.Lock()
        self._heavy = 0

    @contextmanager
    def serving(self, *, heavy: bool) -> Iterator[Callable[[], None]]:
        """Within the block a group is served; what it gives says, as often as one likes, that it is heavy after all."""
        is_counted = False

        def count() -> None:
            nonlocal is_counted
            if not is_counted:
                is_counted = True
                self._count(1)

        if heavy:
            count()
        try:
            yield count
        finally:
            if is_counted:
                self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            before, self._heavy = self._heavy, self._heavy + more
            if not before or not self._heavy:
                self._set_to(min(SHORT_INTERVAL_S, self._usual_s) if self._heavy else self._usual_s)
