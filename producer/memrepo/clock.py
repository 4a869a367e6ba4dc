"""The one door for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

Clock = Callable[[], float]
"""Seconds; since 1970-01-01 UTC from a wall clock, since any moment from a steady one."""

system_clock: Clock = time.time  # noqa: TID251 - this is the door
"""Wall time. It may jump; what is stored or shown uses it."""

steady_clock: Clock = time.monotonic
"""Time that never goes back: for timeouts and pauses."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try: ``first_s``, doubled each time, at most ``max_s``.

    ``jitter`` is the part of it, 0 to 1, that chance may take away, so that those who wait do not come back together.
    """

    first_s: float
    max_s: float
    jitter: float = 0.0

    def pause_s(self, tries: int, random: Random | None = None) -> float:
        """Return how long to wait after so many failed tries; ``random`` is needed where there is jitter."""
        longest_s = min(self.max_s, self.first_s * 2.0 ** min(tries - 1, 30))
        return longest_s if random is None else longest_s * random.uniform(1.0 - self.jitter, 1.0)


def yield_gil() -> None:
    """Let another thread of the process run: an event loop, above all.

    A thread that computes keeps the interpreter's lock for 5 ms at a time, and two that take turns keep a third from it
    for longer. Giving the lock away for a moment (about 60 µs on Linux) between small pieces of work ends that.

    Where another thread computes, it takes 5 ms to have it back.
    """
    time.sleep(1e-6)
