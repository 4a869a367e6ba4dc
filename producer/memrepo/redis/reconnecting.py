"""Connections that close themselves when their server says that it is not, or not yet, the one to talk to.

After a failover the old primary may live on as a replica, its connections open: it refuses every write on them, and
redis-py keeps them. A connection that is closed is made anew by whoever uses it next, at the address as it leads then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from memrepo.redis.errors import Action, NotPrimaryError, meaning_of

if TYPE_CHECKING:
    from redis import Redis


class _Reconnecting:
    """What is added to a class of redis-py's connections."""

    def read_response(self, *args: Any, **options: Any) -> object:
        """Read an answer; if it is an error that a new connection may mend, close this one."""
        connection: Any = super()
        try:
            answer: object = connection.read_response(*args, **options)
        except Exception as error:
            if meaning_of(error).action is Action.CONNECT_ANEW:
                connection.disconnect()
            raise
        return answer


@cache
def _reconnecting(kind: type) -> type:
    return type(f"Reconnecting{kind.__name__}", (_Reconnecting, kind), {})


def reconnecting(client: Redis) -> Redis:
    """Have all connections of a client that has none yet close themselves so, and return the client."""
    pool: Any = client.connection_pool
    pool.connection_class = _reconnecting(pool.connection_class)
    return client


def require_primary(hello: object) -> None:
    """Look at what a server answered to ``HELLO``, if it did: a replica takes reads, and says nothing of its state.

    Raises:
        NotPrimaryError: it is a replica.
    """
    if hello_fields(hello).get("role") == "replica":
        raise NotPrimaryError("its role is replica")


def ask_primary(client: Redis) -> None:
    """Ask a server whether it is the primary; one that is not gets no further question on these connections.

    Raises:
        NotPrimaryError: it is a replica.
    """
    try:
        require_primary(client.execute_command("HELLO"))
    except NotPrimaryError:
        client.connection_pool.disconnect()
        raise


def hello_fields(hello: object) -> Mapping[str, str]:
    """Return what a server says of itself, by name."""
    pairs: Any = ()
    if isinstance(hello, Mapping):
        pairs = hello.items()
    elif isinstance(hello, Sequence) and not isinstance(hello, str | bytes):
        pairs = zip(hello[::2], hello[1::2], strict=False)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
