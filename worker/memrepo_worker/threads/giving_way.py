"""How a thread that does much lets others come: Python's lock is given to one at a time, and so is a server.

Whoever computes calls ``give_way`` between steps of about a millisecond or less. A small commit needs the lock some ten
times, for the broker, the store and the disk: where others take it between, each time costs it as long as they keep it.
Whoever sends calls ``send_slowly``: a server that takes in much at once answers others late.
"""

from __future__ import annotations

import os
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from memrepo.clock import Clock
from memrepo_worker.bounds import SharingBounds

_SLEEP_S_MIN = 0.002


class _Turns:
    """When what several want of the same thing is over, as if they had it one after the other. Thread-safe."""

    def __init__(self, wall: Clock) -> None:
        self._wall = wall
        self._lock = threading.Lock()
        self._free_s = float("-inf")

    def take(self, duration_s: float, begun_s: float = 0.0) -> float:
        """Take it for so long, of which so much is past; return how long it is until that is over."""
        with self._lock:
            now_s = self._wall()
            self._free_s = max(self._free_s, now_s - begun_s) + duration_s
            return self._free_s - now_s


class SendingRate:
    """How much all heavy turns of a worker send together. Thread-safe."""

    def __init__(
        self, bytes_per_s: float = SharingBounds.sent_bytes_per_s, wall: Clock = time.perf_counter
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._turns = _Turns(wall)

    def take(self, size_bytes: int) -> float:
        """Have so many bytes sent next; return how long to wait after it for what was sent by now."""
        return self._turns.take(size_bytes / self._bytes_per_s)


class ComputingRate:
    """How much of a processor all heavy turns of a worker use together. Thread-safe."""

    def __init__(self, wall: Clock = time.perf_counter) -> None:
        self._turns = _Turns(wall)

    def take(self, worked_s: float) -> float:
        """Note that a thread has computed for so long by now; return how long it is to rest.

        What several have computed side by side counts as if they had done it one after the other, each with its rest:
        however many there are, they want Python's lock no more than one would.
        """
        counted_s = min(worked_s, SharingBounds.step_rest_s_max)
        rest_s = min(SharingBounds.rest_ratio * worked_s, SharingBounds.step_rest_s_max)
        return self._turns.take(counted_s + rest_s, counted_s)


@dataclass(frozen=True)
class Rates:
    """What the heavy turns of one worker may use together."""

    sending: SendingRate = field(default_factory=SendingRate)
    computing: ComputingRate = field(default_factory=ComputingRate)


class Pace:
    """How one turn works and rests while ``is_shared`` says that others want the same, too.

    ``owe`` may be called by any thread; all else by the turn's own.
    """

    def __init__(
        self,
        is_shared: Callable[[], bool],
        grace_s: float = 0.0,
        rates: Rates | None = None,
        clock: Clock = time.thread_time,
        wall: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``grace_s`` is how long it computes at first without a rest."""
        self._is_shared = is_shared
        self._grace_s = grace_s
        self._rates = rates or Rates(computing=ComputingRate(wall))
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._lock = threading.Lock()
        self._began_s = clock()
        self._looked_s = wall()
        self.rested_s = 0.0
        self.used_elsewhere_s = 0.0
        self.on_long: Callable[[], None] = lambda: None
        """Called at each step after ``grace_s``, by whichever thread made it: the turn is longer than it seemed."""
        self.on_wait: Callable[[], None] = lambda: None
        """Called where it is going to wait for long."""

    @property
    def is_shared(self) -> bool:
        """Whether others want the same now. From any thread."""
        return self._is_shared()

    def step(self) -> None:
        """Rest, if it is time."""
        now_s = self._wall()
        if now_s - self._looked_s < SharingBounds.step_s:
            return  # the other clock takes five times as long to be read
        self._looked_s = now_s
        worked_s = self._clock() - self._began_s
        if worked_s < SharingBounds.step_s:
            return
        rest_s = self._rest_after(worked_s)
        if rest_s > 0:
            self._sleep(rest_s)
            self.rested_s += rest_s
            self._looked_s = self._wall()
        self._began_s = self._clock()

    def owe(self, worked_s: float) -> float:
        """Note that another thread has computed for so long for this turn; return how long that one is to rest."""
        with self._lock:
            self.used_elsewhere_s += worked_s
        return self._rest_after(worked_s)

    def _rest_after(self, worked_s: float) -> float:
        with self._lock:
            grace_s = min(self._grace_s, worked_s)
            self._grace_s -= grace_s
        if worked_s <= grace_s:
            return 0.0
        self.on_long()
        return self._rates.computing.take(worked_s - grace_s) if self._is_shared() else 0.0

    def send(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent."""
        if self._is_shared():
            wait_s = self._rates.sending.take(size_bytes)
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


def current_pace() -> Pace | None:
    """Return the pace that this thread keeps, for one that works for it."""
    return _current.pace


def rested_s() -> float:
    """Return how long this thread has rested, within ``keeping``."""
    return _current.pace.rested_s if _current.pace is not None else 0.0


def pieces(data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
    """Yield bytes a piece at a time, and give way between: what is done with each takes a millisecond or two."""
    view = memoryview(data)
    for start in range(0, len(view), SharingBounds.piece_bytes):
        yield view[start : start + SharingBounds.piece_bytes]
        give_way()


def texts(data: bytes | bytearray, errors: str = "strict") -> Iterator[str]:
    """Yield what bytes say in UTF-8, a piece at a time as ``pieces``; ``errors`` as for ``bytes.decode``."""
    decoder = getincrementaldecoder("utf-8")(errors)
    for piece in pieces(data):
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _lumps(parts: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes | bytearray | memoryview]:
    """Yield parts with small ones together: a call of the system for each takes longer than copying it."""
    small: list[bytes | bytearray | memoryview] = []
    size = 0
    for part in parts:
        if size + len(part) > SharingBounds.piece_bytes:
            yield b"".join(small)
            small, size = [], 0
        if len(part) > SharingBounds.piece_bytes:
            yield part
        else:
            small.append(part)
            size += len(part)
    yield b"".join(small)


def joined(parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    """Join bytes as ``b"".join`` does, which keeps the lock until all are copied.

    Here the system copies them, twice, without it; and nothing is moved about meanwhile, as a buffer that grows is.
    """
    return gathered(parts, sum(map(len, parts)))


def gathered(parts: Iterable[bytes | bytearray | memoryview], size: int) -> bytes:
    """Join bytes as ``joined`` does, ``size`` in all, of parts that are made one by one: none of them is kept."""
    if size <= SharingBounds.piece_bytes or not hasattr(os, "memfd_create"):
        return b"".join(parts)
    with os.fdopen(os.memfd_create("joined"), "r+b", buffering=0) as file:
        for lump in _lumps(parts):
            for piece in pieces(lump):
                file.write(piece)
        file.seek(0)
        whole = file.read(size)
    assert whole is not None
    assert len(whole) == size
    return whole
