"""The one door for time."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds; since 1970-01-01 UTC from a wall clock, since any moment from a steady one."""

system_clock: Clock = time.time  # noqa: TID251 - this is the door
"""Wall time. It may jump; what is stored or shown uses it."""

steady_clock: Clock = time.monotonic
"""Time that never goes back: for timeouts and pauses."""


def yield_gil() -> None:
    """Let another thread of the process run: an event loop, above all.

    A thread that computes keeps the interpreter's lock for 5 ms at a time, and two that take turns keep a third from it
    for longer. Giving the lock away for a moment (about 60 µs on Linux) between small pieces of work ends that.
    """
    time.sleep(1e-6)
