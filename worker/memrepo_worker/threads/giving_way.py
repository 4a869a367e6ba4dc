"""How a thread that does much lets others come: Python's lock is given to one at a time, and so is a server.

Whoever computes calls ``give_way`` between steps of about a millisecond or less. A small commit needs the lock some ten
times, for the broker, the store and the disk: where others take it between, each time costs it as long as they keep it.
Whoever sends calls ``send_slowly``: a server that takes in much at once answers others late.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from memrepo.clock import Clock
from memrepo.limits import KIB, MIB

STEP_S = 0.001
"""How long a thread computes until it rests; sooner, and what it costs to switch between threads would count."""

REST_RATIO = 1.0
"""How many times as long it rests."""

REST_S_MAX = 0.02
"""How long it rests at most at a time: what it did in one step nobody can part, and others wait for it, too."""

PIECE_BYTES = 64 * KIB

SENT_BYTES_PER_S = 32 * MIB
"""How much is sent to the store while others have something to send, too.

Beside a put of 28 MiB each second, as quick as it goes (0.3 s), one of 2 KB takes SeaweedFS 111 ms (p95), and 9 ms
alone; beside one at 64 MiB/s 11 to 15 ms, at 32 MiB/s 12.
"""

_SLEEP_S_MIN = 0.002


class SendingRate:
    """How much all heavy turns of a worker send together. Thread-safe."""

    def __init__(self, bytes_per_s: float = SENT_BYTES_PER_S, wall: Clock = time.perf_counter) -> None:
        self._bytes_per_s = bytes_per_s
        self._wall = wall
        self._lock = threading.Lock()
        self._free_s = float("-inf")

    def take(self, size_bytes: int) -> float:
        """Have so many bytes sent next; return how long to wait after it for what was sent by now."""
        with self._lock:
            now_s = self._wall()
            self._free_s = max(self._free_s, now_s) + size_bytes / self._bytes_per_s
            return self._free_s - now_s


class Pace:
    """How one thread works and rests while ``is_shared`` says that others want the same, too."""

    def __init__(
        self,
        is_shared: Callable[[], bool],
        grace_s: float = 0.0,
        rate: SendingRate | None = None,
        clock: Clock = time.thread_time,
        wall: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``grace_s`` is how long it computes at first without a rest."""
        self._is_shared = is_shared
        self._rate = rate or SendingRate()
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._began_s = clock() + grace_s
        self._looked_s = wall()
        self.rested_s = 0.0
        self.on_long: Callable[[], None] = lambda: None
        """Called at each step after ``grace_s``: it takes longer than it seemed to."""
        self.on_wait: Callable[[], None] = lambda: None
        """Called where it is going to wait for long."""

    def step(self) -> None:
        """Rest, if it is time."""
        now_s = self._wall()
        if now_s - self._looked_s < STEP_S:
            return  # the other clock takes five times as long to be read
        self._looked_s = now_s
        worked_s = self._clock() - self._began_s
        if worked_s < STEP_S:
            return
        self.on_long()
        if self._is_shared():
            rest_s = min(REST_RATIO * worked_s, REST_S_MAX)
            self._sleep(rest_s)
            self.rested_s += rest_s
        self._began_s = self._clock()

    def send(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent."""
        if self._is_shared():
            wait_s = self._rate.take(size_bytes)
            if wait_s >= _SLEEP_S_MIN:
                self._sleep(wait_s)


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


def send_slowly(size_bytes: int) -> None:
    """Let others send, where this thread keeps a pace, before it sends so many bytes: some KiB at a time."""
    if _current.pace is not None:
        _current.pace.send(size_bytes)


def will_wait() -> None:
    """Let others work meanwhile, where this thread keeps a pace: it will wait for a process, or open a memory."""
    if _current.pace is not None:
        _current.pace.on_wait()


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
