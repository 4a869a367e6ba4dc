"""A script that is sent now and whose answer is read later, so that its way to Redis and back takes nobody's time.

It goes over a connection that the client's pool lends, so it is made, checked, kept to its time-outs and led to the
primary as every other one, and what redis-py does around each of its own commands is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from redis import Redis, ResponseError
from redis.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError

from memrepo.redis.script import Answer, Argument, Script


class ScriptCall:
    """One call of a script, whose answer its server owes once it is sent. Used by one thread at a time.

    The connection goes back to its pool when the answer was read, and is closed where it never is: whoever was lent it
    next would take that answer for its own.
    """

    def __init__(
        self, client: Redis, script: Script, keys: Sequence[Argument], args: Sequence[Argument]
    ) -> None:
        """Write it as it is sent; nothing is."""
        self._client, self._script, self._keys, self._args = client, script, keys, args
        self._pool = client.connection_pool
        self._packed = packed(("EVALSHA", script.digest, len(keys), *keys, *args))
        self._connection: Connection | None = None
        self._is_owed = False

    def take_connection(self, of: ScriptCall | None = None) -> None:
        """Have the pool lend the connection now, so that ``send`` only sends; ``abandon`` gives it back unsent.

        It is the one that another call ``of`` the same client has kept, if there is one that owes no answer.

        Raises:
            redis.RedisError: there is none to be had.
        """
        if of is not None and not of._is_owed:
            self._connection, of._connection = of._connection, None
        if self._connection is None:
            self._connection = self._pool.get_connection()

    def send(self) -> Self:
        """Send it.

        Raises:
            redis.RedisError: it may have been sent, or not; nothing is owed.
        """
        self.take_connection()
        connection = self._connection
        assert connection is not None
        self._is_owed = True
        try:
            connection.send_packed_command([self._packed])
        except BaseException:
            self.abandon()
            raise
        return self

    def answer(self, *, keeps_connection: bool = False) -> Answer:
        """Return Redis' answer; once. The connection may be kept for another call, or until this one is abandoned.

        Raises:
            redis.RedisError: whether the script ran is not known, unless the server itself says so; nothing is owed.
        """
        connection = self._connection
        if connection is None or not self._is_owed:
            raise RedisConnectionError("no answer is owed: the connection was closed, or it was read")
        try:
            answer: Answer = connection.read_response()
        except NoScriptError:
            self._give_back(connection)
        except ResponseError:
            self._give_back(connection)
            raise
        except BaseException:
            self.abandon()
            raise
        else:
            self._is_owed = False
            if not keeps_connection:
                self._give_back(connection)
            return answer
        return self._client.eval(self._script.source, len(self._keys), *self._keys, *self._args)

    def abandon(self) -> None:
        """Have nothing to do any more with an answer that is owed, which may come late, nor with the connection."""
        if self._connection is not None:
            if self._is_owed:
                self._connection.disconnect()
            self._give_back(self._connection)

    def _give_back(self, connection: Connection) -> None:
        self._connection = None
        self._pool.release(connection)


def run_script(client: Redis, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Answer:
    """Run a script in one round trip (two when the server has forgotten it) and return Redis' answer."""
    return ScriptCall(client, script, keys, args).send().answer()


def packed(words: Sequence[Argument]) -> bytes:
    """Write a command as Redis reads it: redis-py's own way takes several times as long."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(parts)
