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
