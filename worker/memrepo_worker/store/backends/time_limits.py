"""A limit to the whole time of one request over a network.

The SDKs' own limits are to silence: an answer that comes drop by drop never reaches them. Here a thread looks a few
times a second for requests that are overdue and shuts their connection, which ends whatever waits for it. A request
costs two steps under a lock, and no thread runs where there were none for a while.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from urllib3.util.wait import wait_for_read

from memrepo.clock import Clock, steady_clock
from memrepo_worker.store.interface import UnavailableError
from memrepo_worker.store.meanwhile import request_sent
from memrepo_worker.threads.beginning import begin_thread
from memrepo_worker.threads.giving_way import pieces, send_slowly

BYTES_PER_S_MIN = 64 * 1024
"""A body may take its size divided by this, beside what every request may take."""

SENT_TOGETHER_BYTES_MAX = 64 * 1024
"""Up to this size a body goes with its head: of two sends the first wakes the server, which then waits for the rest."""

TICK_S = 0.25
_IDLE_TICKS_MAX = 40
_LONGEST_S = 1800.0

if TYPE_CHECKING:
    from urllib3 import HTTPResponse
    from urllib3.connection import HTTPConnection as _Connection
else:
    _Connection = object


class AnswerTooLargeError(Exception):
    """An answer has more bytes than were wanted."""

    def __init__(self, size: int) -> None:
        super().__init__(f"{size} bytes")
        self.size = size


class TimedRequest:
    """A request that is under way, the connection that it uses, and what the head of its answer says."""

    def __init__(self, began_s: float, limit_s: float) -> None:
        self._began_s = began_s
        self.limit_s = limit_s
        self.is_cut = False
        self.answer_bytes_max: int | None = None
        self.content_range = ""
        self.connection: socket.socket | None = None

    def allow_for(self, size_bytes: int) -> None:
        """Let it take longer by what so many bytes may take."""
        self.limit_s = min(self.limit_s + size_bytes / BYTES_PER_S_MIN, _LONGEST_S)

    def is_overdue(self, now_s: float) -> bool:
        """Whether it has taken longer than it may."""
        return now_s - self._began_s > self.limit_s

    def cut(self) -> None:
        """End what waits for the connection."""
        self.is_cut = True
        if self.connection is not None:
            with suppress(OSError):
                # Not the TLS layer's own shutdown: another thread is reading there.
                socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


_CURRENT: ContextVar[TimedRequest | None] = ContextVar("memrepo_timed_request", default=None)


class TimeLimits:
    """Keeps the requests of one store to their time. Thread-safe."""

    def __init__(self, place: str, limit_s: float, clock: Clock = steady_clock) -> None:
        """``place`` names the store in messages; ``limit_s`` is what a request may take beside its body."""
        self._place = place
        self._limit_s = limit_s
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: set[TimedRequest] = set()
        self._used = False
        self._watching = False

    @contextmanager
    def request(self, size_bytes: int = 0) -> Iterator[TimedRequest]:
        """Hold the one request that the block makes to its time; ``size_bytes`` is what it sends.

        Raises:
            UnavailableError: it took longer; its outcome is unknown.
        """
        one = TimedRequest(self._clock(), self._limit_s)
        one.allow_for(size_bytes)
        self._begin(one)
        token = _CURRENT.set(one)
        cause: Exception | None = None
        try:
            yield one
        except Exception as error:
            if not one.is_cut:
                raise
            cause = error
        finally:
            _CURRENT.reset(token)
            with self._lock:
                self._under_way.discard(one)
        if one.is_cut:  # also where the SDK took what had come for the whole
            raise UnavailableError(f"{self._place}: no whole answer within {one.limit_s:.0f} s") from cause

    def _begin(self, one: TimedRequest) -> None:
        with self._lock:
            self._under_way.add(one)
            self._used = True
            if not self._watching:
                self._watching = begin_thread("memrepo-store-limits", self._watch) is not None

    def _watch(self) -> None:
        idle_ticks = 0
        while True:
            time.sleep(TICK_S)
            now_s = self._clock()
            with self._lock:
                overdue = [one for one in self._under_way if one.is_overdue(now_s)]
                idle_ticks = 0 if self._used or self._under_way else idle_ticks + 1
                self._used = False
                if idle_ticks >= _IDLE_TICKS_MAX:
                    self._watching = False
                    return
            for one in overdue:
                one.cut()


class LimitedConnection(_Connection):
    """Mixed into urllib3's connections: tells which socket the request under way uses, and when it is sent.

    What is small is sent as one, what is large at the pace that the thread keeps.
    """

    _waits_for_body = False
    _head = b""

    def connect(self) -> None:
        """Connect."""
        super().connect()
        self._tell()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        """Begin a request, over a connection that is open already or will be."""
        self._tell()
        super().putrequest(*args, **kwargs)

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Make a request, whose head waits for its body where that is small, and not to be asked for first."""
        body, headers = kwargs.get("body"), kwargs.get("headers") or {}
        is_small = isinstance(body, bytes) and 0 < len(body) <= SENT_TOGETHER_BYTES_MAX
        self._head, self._waits_for_body = b"", is_small and "Expect" not in headers
        super().request(*args, **kwargs)

    def send(self, *args: Any) -> None:
        """Send a part of a request; what is large goes a piece at a time."""
        (data,) = args
        if self._waits_for_body:
            self._head, self._waits_for_body = data, False
            return
        if self._head:
            data, self._head = self._head + data, b""
        if not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)
            return
        for piece in pieces(data):
            send_slowly(len(piece))
            super().send(piece)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as in urllib3
        """Wait for the answer; what is to be done meanwhile is done before."""
        request_sent(self._is_answered)
        return super().getresponse()

    def _is_answered(self) -> bool:
        """Whether something of the answer is there, or the connection is over."""
        return self.sock is None or wait_for_read(self.sock, timeout=0)

    def _tell(self) -> None:
        current = _CURRENT.get()
        if current is not None and self.sock is not None:
            current.connection = self.sock


def begin_answer(size_bytes: int, content_range: str, *, is_error: bool) -> None:
    """Tell the request that is under way in this thread what the head of its answer says.

    Raises:
        AnswerTooLargeError: more comes than it wants; nothing of it was read.
    """
    current = _CURRENT.get()
    if current is None:
        return
    if not is_error and current.answer_bytes_max is not None and size_bytes > current.answer_bytes_max:
        raise AnswerTooLargeError(size_bytes)
    current.content_range = content_range
    current.allow_for(size_bytes)
