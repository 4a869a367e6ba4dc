"""How sure the broker must be of a request before a client calls it enqueued (``MEMREPO_ENQUEUE_DURABILITY``)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from memrepo.clock import Clock
from memrepo.errors import InvalidRequestError
from memrepo.redis.errors import NoReplicaError
from memrepo.settings import DURABILITY_SETTING, Durability
from memrepo.wire.keys import FLUSHED_KEY

if TYPE_CHECKING:
    from redis import Redis

ASKED_FOR_S = 0.5
"""How long the broker may take to answer, at a time: so that a request that is late meanwhile is given up."""

FLUSH_BEGINS_S = 1.2
"""How long after a write a server with ``appendfsync everysec`` has begun to flush it: a second, and a tick."""


class Confirmation:
    """Asks a broker whether it is sure of what was written on a client's one connection."""

    def __init__(self, client: Redis, durability: Durability, clock: Clock) -> None:
        """``client`` is connected.

        Raises:
            InvalidRequestError: the broker cannot be that sure: it knows no such command, keeps no append-only file, or
                leaves it to its system when that is flushed.
            redis.RedisError: it does not answer.
        """
        self._client = client
        self._durability = durability
        self._clock = clock
        self._flushes_always = False
        self._written_at_s = 0.0
        self._marked = False
        self._made_anew = False
        self._check_durability()
        self._watch_connection()

    def require_replica(self, *, at_first: bool) -> None:
        """See that there is somebody to have a copy, before anything is written on this connection.

        Raises:
            NoReplicaError: ``replica`` is asked for, and none follows.
            redis.RedisError: the broker does not answer.
        """
        # Of a connection on which nothing was written, each replica has all.
        if self._durability == "replica" and not self._asked("WAIT", 1, timeout_s=0.001):
            raise NoReplicaError(
                f"{DURABILITY_SETTING} is 'replica', which asks for one: start it, or choose memory or disk",
                at_first=at_first,
            )

    def begin(self) -> None:
        """From here on something is written, and the connection has to be the same."""
        self._made_anew = False

    def written(self) -> None:
        """All of it is written."""
        self._written_at_s, self._marked = self._clock(), False

    def is_durable(self) -> bool:
        """Return whether the broker is sure of what was written, waiting a moment for it.

        Raises:
            redis.RedisError: it does not answer, or the connection is another: whether it holds that is not known.
        """
        if self._durability == "replica":
            sure = self._asked("WAIT", 1)
        else:
            sure = self._flush_has_begun() and self._asked("WAITAOF", 1, 0)
        self._require_same_connection()
        return sure

    def _asked(self, *command: str | int, timeout_s: float = ASKED_FOR_S) -> bool:
        answer = self._client.execute_command(*command, int(timeout_s * 1000))
        return int(answer[0] if isinstance(answer, list) else answer) >= 1

    def _flush_has_begun(self) -> bool:
        """With ``everysec``: wait for the flush to begin, and write once more, so that its end is waited for.

        Redis from 7.4 to 7.4.2 and Valkey up to 9.1 at least say at once that a write is flushed which follows a flush
        within the same second, and flush it later. They are right of a write that comes when the next flush has begun.
        """
        if self._flushes_always or self._marked:
            return True
        left_s = self._written_at_s + FLUSH_BEGINS_S - self._clock()
        if left_s > 0:
            threading.Event().wait(min(left_s, ASKED_FOR_S))
            return False
        self._client.set(FLUSHED_KEY, 1)
        self._marked = True
        return True

    def _check_durability(self) -> None:
        from redis import ResponseError  # noqa: PLC0415 - the publisher's thread has loaded it

        try:
            if self._durability == "replica":
                self._asked("WAIT", 1, timeout_s=0.001)
            else:
                self._asked("WAITAOF", 1, 0, timeout_s=0.001)
        except ResponseError as error:
            raise _cannot(self._durability, str(error)) from error
        if self._durability == "disk":
            try:
                policy = str(self._client.config_get("appendfsync"))
            except ResponseError:  # not ours to ask, or not there: then it is taken for the slower one
                return
            if "'no'" in policy:
                raise _cannot(self._durability, "it leaves flushing to its system (appendfsync no)")
            self._flushes_always = "always" in policy

    def _watch_connection(self) -> None:
        """Notice when the connection is made anew: a server knows what was written on it, and of no other.

        redis-py connects anew without a word where it finds that a connection was closed while nothing was asked on it.
        On the new one nothing was written, so that its server is at once sure of all of it: a restarted server that has
        lost what was written before, or another one after a failover.
        """
        pool = self._client.connection_pool
        connection = pool.get_connection()
        connection.register_connect_callback(self._on_connect)
        pool.release(connection)

    def _on_connect(self, _connection: object) -> None:
        self._made_anew = True

    def _require_same_connection(self) -> None:
        if self._made_anew:
            from redis import ConnectionError as LostError  # noqa: PLC0415 - likewise

            raise LostError("Connection was lost before the broker was sure of what was written on it.")


def _cannot(durability: Durability, reason: str) -> InvalidRequestError:
    return InvalidRequestError.of(
        DURABILITY_SETTING,
        f"is {durability!r}, which this broker cannot do: {reason}. Choose another, or change the broker",
    )
