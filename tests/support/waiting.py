"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_for(
    condition: Callable[[], Value | None], what: str, timeout_s: float = 20.0, every_s: float = 0.01
) -> Value:
    """Return the condition's first true value.

    Raises:
        AssertionError: it did not come true in time; the message says what was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}; last seen: {value!r}")
        time.sleep(every_s)
    return value
