"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

_TAIL_CHARS = 6000


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


def wait_for_text(log: Path | Callable[[], str], text: str, what: str, timeout_s: float = 20.0) -> str:
    """Return a log, or what else is read so, as soon as a text is in it.

    Raises:
        AssertionError: it did not come in time; the message ends with the log's end.
    """
    read = log if callable(log) else log.read_text
    whole = ""

    def found() -> bool:
        nonlocal whole
        whole = read()
        return text in whole

    try:
        wait_for(found, what, timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{text!r} is not in:\n{whole[-_TAIL_CHARS:]}") from None
    return whole


def given_time(
    check: Callable[[float], object], limits_s: Sequence[float] = (0.5, 4.0), last_s: float = 20.0
) -> None:
    """Check what is told after a limit, in seconds: after the shortest one that leaves a busy machine time enough.

    Raises:
        AssertionError: it does not hold after the longest either.
    """
    for limit_s in limits_s:
        try:
            check(limit_s)
        except AssertionError:
            continue
        return
    check(last_s)
