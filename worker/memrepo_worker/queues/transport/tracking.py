"""A connection on which Redis tells us when a queue changes, whoever pushed: nothing is polled while idle.

It rests on ``CLIENT TRACKING`` (Redis 6 and Valkey): the server remembers which keys this connection has read and
announces, once, that one was changed by somebody else. Reading the queue again arms it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from socket import SocketType
from typing import Any, Protocol

from redis import Connection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from memrepo.redis.reconnecting import require_primary
from memrepo.redis.script import Answer, Argument
from memrepo_worker.queues.script_call import packed

_packed = lru_cache(64)(packed)  # the same queues are looked at again and again

ANSWER_TIMEOUT_S = 5.0
"""The server answers a script at once or is not there."""


class _PushParser(Protocol):
    """What we use of redis-py's parser, with hiredis or without."""

    def set_invalidation_push_handler(self, handler: Callable[[list[Any]], None], /) -> None: ...


class TrackingConnection:
    """Runs scripts, and hears of changes to the keys that they read. Not thread-safe."""

    def __init__(self, connection_class: type[Connection], parameters: dict[str, Any]) -> None:
        self._changed: set[str] = set()
        self._forgotten = False
        self._connection = connection_class(
            **{
                **parameters,
                "protocol": 3,
                "retry": Retry(NoBackoff(), 0),
                "socket_timeout": ANSWER_TIMEOUT_S,
                "health_check_interval": 0,
                "decode_responses": False,
            }
        )
        self._connection.connect()
        self._parser.set_invalidation_push_handler(self._remember)
        try:
            self._run("CLIENT", "TRACKING", "ON", "NOLOOP")
        except Exception:
            self.close()
            raise

    @property
    def socket(self) -> SocketType:
        """What becomes readable when something changed, while it is connected."""
        connected: SocketType = vars(self._connection)["_sock"]  # to type checkers redis-py's own says None
        return connected

    @property
    def _parser(self) -> _PushParser:
        parser: _PushParser = self._connection._parser
        return parser

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script that the server knows; what is announced meanwhile is noted where one hears of it next."""
        return self._run("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Argument) -> Answer:
        """Run a script and make the server know it; likewise."""
        return self._run("EVAL", script, numkeys, *keys_and_args)

    def hear(self) -> None:
        """Note what the server has announced so far; after an answer, too: a buffer has it, where no poller sees it."""
        while self._connection.can_read(timeout=0):
            self._connection.read_response(push_request=True)

    def require_primary(self) -> None:
        """Ask the server whether it is the primary still: one that is not may announce nothing any more.

        Raises:
            NotPrimaryError: it is a replica.
        """
        answer = self._run("HELLO")
        self.hear()
        require_primary(answer)

    def changed(self, keys: Collection[str]) -> set[str]:
        """Return which of the keys changed since this was asked last, as far as it was heard of."""
        found = set(keys) if self._forgotten else self._changed.intersection(keys)
        self._changed.clear()
        self._forgotten = False
        return found

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()

    def _run(self, *command: Argument) -> Answer:
        if vars(self._connection)["_sock"] is None:  # redis-py would connect anew, and be told of nothing
            raise RedisConnectionError("the connection that watches the queues was closed")
        self._connection.send_packed_command([_packed(command)])
        answer: Answer = self._connection.read_response()
        return answer

    def _remember(self, announcement: list[Any]) -> None:
        keys = announcement[1]
        if keys is None:  # a database was flushed: the server watches nothing any more
            self._forgotten = True
        else:
            self._changed.update(key.decode() for key in keys)
