"""A connection to Redis for each thread that runs scripts: the client's own kind of connection, without the client.

A client of redis-py takes 54 µs of CPU for each script (its pool, retries and metrics), the connection below it 15. It
is made by the client's pool, so that health, TLS, Sentinels and time limits are those of every other connection.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from redis import Redis, ResponseError
from redis.connection import ConnectionInterface
from redis.exceptions import ConnectionError as RedisConnectionError

from memrepo.redis.script import Answer, Argument


class ThreadConnections:
    """Runs scripts, each thread over its own connection. Thread-safe.

    A connection on which anything but the server's own answer was met is closed: whatever is still to come on it would
    be read as the answer to another script.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._local = threading.local()

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script that the server knows."""
        return self._run(packed(("EVALSHA", sha, numkeys, *keys_and_args)))

    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script and make the server know it."""
        return self._run(packed(("EVAL", script, numkeys, *keys_and_args)))

    def _run(self, command: bytes) -> Answer:
        connection, is_used = self._connection()
        try:
            return self._ask(connection, command)
        except RedisConnectionError:
            if not is_used:
                raise
        return self._ask(connection, command)  # the server had closed it while nothing was asked

    def _connection(self) -> tuple[ConnectionInterface, bool]:
        """Return this thread's connection, and whether it was used before; a forked child begins with its own."""
        kept: tuple[int, ConnectionInterface] | None = getattr(self._local, "kept", None)
        if kept is not None and kept[0] == os.getpid():
            return kept[1], True
        connection = self._pool.make_connection()
        self._local.kept = (os.getpid(), connection)
        return connection, False

    @staticmethod
    def _ask(connection: ConnectionInterface, command: bytes) -> Answer:
        try:
            connection.send_packed_command([command])
            return connection.read_response()
        except ResponseError:
            raise
        except BaseException:
            connection.disconnect()
            raise


def packed(command: Iterable[Argument]) -> bytes:
    """Return a command as Redis reads it."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in command]
    return b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)))
