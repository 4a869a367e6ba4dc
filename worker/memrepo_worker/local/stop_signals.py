"""The signals that ask a program of several processes to stop."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """Counts requests to stop: the first stops in order, the second does not wait."""

    def __init__(self) -> None:
        self._count = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self._count += 1

    def stopped(self) -> bool:
        """Return whether somebody asked to stop."""
        return self._count > 0

    def hurried(self) -> bool:
        """Return whether somebody asked twice."""
        return self._count > 1
