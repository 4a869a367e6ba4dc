"""What happened, counted: the events that tests, metrics and logs are made from.

Events carry shapes only (names, counts, bytes, seconds): never content, paths or messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Protocol


class Observer(Protocol):
    """Whoever wants to know. Must be quick, thread-safe, and never raise."""

    def count(self, event: str, amount: int = 1) -> None:
        """Note that something happened ``amount`` times, e.g. ``store.put.requests`` or ``process.started``."""
        ...


class Counters:
    """An observer that adds up; the worker's own, read by ``celery inspect`` and by tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def count(self, event: str, amount: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[event] += amount

    def snapshot(self) -> Mapping[str, int]:
        """Return all counters as they are now."""
        with self._lock:
            return dict(self._counts)
