"""How long a thread keeps Python's lock from the others while one of them is served."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from memrepo_worker.bounds import SharingBounds


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
        """Within the block a group is served; what it gives says, as often as one likes, that it is heavy after all.

        Threads that work for it may still say so when the block is left: then it changes nothing any more.
        """
        is_counted = is_over = False

        def count() -> None:
            nonlocal is_counted
            with self._lock:
                if not is_counted and not is_over:
                    is_counted = True
                    self._count(1)

        if heavy:
            count()
        try:
            yield count
        finally:
            with self._lock:
                is_over = True
                if is_counted:
                    self._count(-1)

    def _count(self, more: int) -> None:
        """Count heavy groups. The caller holds the lock."""
        before, self._heavy = self._heavy, self._heavy + more
        if not before or not self._heavy:
            short_s = min(SharingBounds.switch_interval_s, self._usual_s)
            self._set_to(short_s if self._heavy else self._usual_s)
