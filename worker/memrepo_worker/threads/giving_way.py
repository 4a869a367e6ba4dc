"""How a thread that computes for long lets others come: Python's lock is given to one at a time.

Whoever computes calls ``give_way`` between steps of about a millisecond or less. A small commit needs the lock some ten
times, for the broker, the store and the disk: where others take it between, each time costs it as long as they keep it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from memrepo.clock import Clock
from memrepo.limits import KIB

STEP_S = 0.001
"""How long a thread computes until it rests; sooner, and what it costs to switch between threads would count."""

REST_RATIO = 1.0
"""How many times as long it rests."""

REST_S_MAX = 0.02
"""How long it rests at most at a time: what it did in one step nobody can part, and others wait for it, too."""

PIECE_BYTES = 64 * KIB


class Pace:
    """How one thread computes and rests while ``is_shared`` says that others want the lock, too."""

    def __init__(
        self,
        is_shared: Callable[[], bool],
        grace_s: float = 0.0,
        clock: Clock = time.thread_time,
        wall: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``grace_s`` is how long it computes at first without a rest."""
        self._is_shared = is_shared
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._began_s = clock() + grace_s
        self._looked_s = wall()
        self.rested_s = 0.0

    def step(self) -> None:
        """Rest, if it is time."""
        now_s = self._wall()
        if now_s - self._looked_s < STEP_S:
            return  # the other clock takes five times as long to be read
        self._looked_s = now_s
        worked_s = self._clock() - self._began_s
        if worked_s < STEP_S:
            return
        if self._is_shared():
            rest_s = min(REST_RATIO * worked_s, REST_S_MAX)
            self._sleep(rest_s)
            self.rested_s += rest_s
        self._began_s = self._clock()


class _Current(threading.local):
    pace: Pace | None = None


_current = _Current()


@contextmanager
def keeping(pace: Pace) -> Iterator[None]:
    """Within the block, this thread keeps that pace."""
    before, _current.pace = _current.pace, pace
    try:
        yield
    finally:
        _current.pace = before


def give_way() -> None:
    """Let others come, where this thread keeps a pace and it is time. Never under a lock that they may want."""
    if _current.pace is not None:
        _current.pace.step()


def rested_s() -> float:
    """Return how long this thread has rested, within ``keeping``."""
    return _current.pace.rested_s if _current.pace is not None else 0.0


def pieces(data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
    """Yield bytes a piece at a time, and give way between: what is done with each takes a millisecond or two."""
    view = memoryview(data)
    for start in range(0, len(view), PIECE_BYTES):
        yield view[start : start + PIECE_BYTES]
        give_way()


def joined(parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Join bytes as ``b"".join`` does, which keeps the lock until all are copied.

    Here the system copies them, twice, without it; and nothing is moved about meanwhile, as a buffer that grows is.
    """
    size = sum(map(len, parts))
    if size <= PIECE_BYTES or not hasattr(os, "memfd_create"):
        return b"".join(parts)
    with os.fdopen(os.memfd_create("joined"), "r+b", buffering=0) as file:
        for part in parts:
            for piece in pieces(part):
                file.write(piece)
        file.seek(0)
        whole = file.read(size)
    assert whole is not None
    assert len(whole) == size
    return whole
