"""The one door for wall time."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds since 1970-01-01 UTC."""

system_clock: Clock = time.time  # noqa: TID251 - this is the door
