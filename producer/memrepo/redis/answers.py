"""Answers of a Redis that come in pieces: whole within a time limit, or the connection is dead.

The time-out of a socket is for silence: each byte begins it anew. A proxy or a link that lets a byte through now and
then would hold whoever waits for an answer for as long as the answer is long, and nothing would be told.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable
from functools import cache
from socket import socket
from typing import Any, TypeVar

from memrepo.clock import steady_clock
from memrepo.redis.errors import TOO_SLOW_TEXT

WHOLE_WITHIN_S = 2.0
"""How long an answer may take from its first byte to its last. A server writes it at once, so this is the way's."""

BYTES_PER_S_MIN = 64 * 1024
"""How fast a long one must come: for each so many bytes it may take a second longer."""

TELL_EVERY_S = 30.0

Received = TypeVar("Received", bytes, int)

log = logging.getLogger(__name__)


class SlowServers:
    """Tells of connections that were given up: each to who listens, of each server a line now and then. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._given_up: dict[str, int] = {}
        self._told_s: dict[str, float] = {}

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a listener called for each connection that is given up; it must be quick, and never raise."""
        self._listeners.append(listener)

    def met(self, server: str) -> None:
        """Note that a connection to a server is given up."""
        now_s = steady_clock()
        with self._lock:
            count = self._given_up[server] = self._given_up.get(server, 0) + 1
            is_due = now_s - self._told_s.get(server, float("-inf")) >= TELL_EVERY_S
            if is_due:
                self._told_s[server] = now_s
        for listener in self._listeners:
            listener()
        if is_due:
            log.warning(
                "an answer of the Redis at %s began and was not whole in time: the connection is given up (%d so far)",
                server,
                count,
                extra={"event": "redis.answer.slow", "fields": {"server": server, "given_up": count}},
            )


slow_servers = SlowServers()
"""Those that this process has met."""


class WholeAnswers:
    """What is added to a class of redis-py's connections: an answer that does not come whole in time ends it."""

    def _connect(self) -> object:
        connection: Any = super()
        return _TimedSocket(connection._connect())

    def read_response(self, *args: Any, **options: Any) -> object:
        """Read an answer.

        Raises:
            redis.ConnectionError: its beginning came, and the rest not in time; or the connection was lost.
        """
        connection: Any = super()
        timed: _TimedSocket | None = vars(self)["_sock"]
        # Redis-py's pub/sub says how long, or that without end, when it has seen that something came: it is our limit
        # then, as kombu would wait for ever for the rest.
        options.pop("timeout", None)
        try:
            answer: object = connection.read_response(*args, **options)
        except _TooSlowError as error:
            from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415 - loaded long since

            connection.disconnect()
            slow_servers.met(self._server)
            raise RedisConnectionError(TOO_SLOW_TEXT) from error
        finally:
            if timed is not None:
                timed.answered()
        return answer

    @property
    def _server(self) -> str:
        connection: Any = self
        path = getattr(connection, "path", "")
        return str(path) if path else f"{connection.host}:{connection.port}"


@cache
def whole_answers(kind: type) -> type:
    """Return a class of connections with that added."""
    return type(f"WholeAnswers{kind.__name__}", (WholeAnswers, kind), {})


class _TooSlowError(Exception):
    """No OSError, which redis-py would take for silence, or for a connection that was lost."""


class _TimedSocket:
    """A socket that knows since when an answer comes. What is not here is the socket's own."""

    def __init__(self, plain: socket) -> None:
        self._plain = plain
        self._ends_s: float | None = None
        """When the answer that comes must be whole; None while nothing of it came."""
        self.sendall, self.settimeout = plain.sendall, plain.settimeout

    def __getattr__(self, name: str) -> object:
        return getattr(self._plain, name)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive some bytes; with flags it is a look ahead, which takes nothing."""
        if flags:
            return self._plain.recv(size, flags)
        return self._receive(lambda: self._plain.recv(size), len)

    def recv_into(self, buffer: bytearray) -> int:
        """Receive some bytes, as hiredis does."""
        return self._receive(lambda: self._plain.recv_into(buffer), int)

    def answered(self) -> None:
        """Note that the answer is whole: the next one begins with what comes next."""
        self._ends_s = None

    def _receive(self, receive: Callable[[], Received], count: Callable[[Received], int]) -> Received:
        if self._ends_s is None:
            received = receive()
            self._ends_s = steady_clock() + WHOLE_WITHIN_S
        else:
            # Where the time is over, what lies here already is taken still: it may be we who were slow.
            received = self._within(max(0.0, self._ends_s - steady_clock()), receive)
        self._ends_s += count(received) / BYTES_PER_S_MIN
        return received

    def _within(self, left_s: float, receive: Callable[[], Received]) -> Received:
        timeout_s = self._plain.gettimeout()
        if timeout_s is not None and timeout_s <= left_s:
            return receive()
        self._plain.settimeout(left_s)
        try:
            return receive()
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            raise _TooSlowError from None
        finally:
            self._plain.settimeout(timeout_s)
