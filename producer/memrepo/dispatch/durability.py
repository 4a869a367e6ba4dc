"""How sure the broker must be of a request before a client calls it enqueued (``MEMREPO_ENQUEUE_DURABILITY``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memrepo.errors import InvalidRequestError
from memrepo.settings import DURABILITY_SETTING, Durability

if TYPE_CHECKING:
    from redis import Redis

ASKED_FOR_S = 0.5
"""How long the broker may take to answer, at a time: so that a request that is late meanwhile is given up."""


def check_durability(client: Redis, durability: Durability) -> None:
    """Ask whether a broker can be that sure.

    Raises:
        InvalidRequestError: it cannot: it knows no such command, or keeps no append-only file.
        redis.RedisError: it does not answer.
    """
    if durability == "memory":
        return
    from redis import ResponseError  # noqa: PLC0415 - the publisher's thread has loaded it

    try:
        is_durable(client, durability, timeout_ms=1)
    except ResponseError as error:
        raise InvalidRequestError.of(
            DURABILITY_SETTING,
            f"is {durability!r}, which this broker cannot do: {error}. Choose another, or change the broker",
        ) from error


class UnbrokenConnection:
    """Notices that a client's connection was made anew: a server knows what was written on it, and says so of no other.

    redis-py connects anew without a word where it finds that a connection was closed while nothing was asked on it. On
    the new one nothing was written, so that its server is at once sure of all of it: a restarted server that has lost
    what was written before, or another one after a failover.
    """

    def __init__(self, client: Redis) -> None:
        """``client`` has one connection, which is there."""
        self._made_anew = False
        connection = client.connection_pool.get_connection()
        connection.register_connect_callback(self._on_connect)
        client.connection_pool.release(connection)

    def _on_connect(self, _connection: object) -> None:
        self._made_anew = True

    def begin(self) -> None:
        """From here on it has to be the same."""
        self._made_anew = False

    def check(self) -> None:
        """Check that it is the same.

        Raises:
            redis.ConnectionError: it is not: whether the broker holds what was written is not known.
        """
        if self._made_anew:
            from redis import ConnectionError as LostError  # noqa: PLC0415 - the publisher's thread has loaded it

            raise LostError("Connection was lost before the broker was sure of what was written on it.")


def is_durable(client: Redis, durability: Durability, *, timeout_ms: int = int(ASKED_FOR_S * 1000)) -> bool:
    """Return whether what was written last is that sure, waiting for it as long as told.

    Right after the writes: redis-py hands out the connection again that was given back last, and the server answers
    for the writes of that connection.

    Raises:
        redis.RedisError: the broker does not answer: whether it holds the requests is not known.
    """
    if durability == "memory":
        return True
    if durability == "disk":
        flushed_here, _ = client.execute_command("WAITAOF", 1, 0, timeout_ms)
        return int(flushed_here) >= 1
    return int(client.execute_command("WAIT", 1, timeout_ms)) >= 1
