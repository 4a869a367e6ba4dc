"""What is added to the connections of redis-py: they close themselves when their server is not the one to talk to.

After a failover the old primary may live on as a replica, its connections open: it refuses every write on them, and
redis-py keeps them. A connection that is closed is made anew by whoever uses it next, at the address as it leads then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from memrepo.redis.address import RedisUrl
from memrepo.redis.answers import WholeAnswers, whole_answers
from memrepo.redis.errors import Action, NotPrimaryError, meaning_of
from memrepo.redis.sentinel import find_primary

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


class _Unnamed:
    """What is added so that a connection does not tell the server the library's name and version.

    Redis 7.0 knows no ``CLIENT SETINFO`` and does not start with a user who may use it, so ``docs/acl.conf`` gives no
    such right. Redis-py bears the refusal, but the server would log one for each connection.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.driver_info = None
        self.lib_name = self.lib_version = None  # what redis-py before 7.2 looks at


class _LedToPrimary:
    """What is added likewise where Sentinels say which server is the primary."""

    def __init__(self, *args: Any, address: RedisUrl, **options: Any) -> None:
        self._address = address
        super().__init__(*args, **options)

    def _connect(self) -> object:
        connection: Any = super()
        self.host, self.port = find_primary(self._address)
        return connection._connect()


@cache
def _with(addition: type, kind: type) -> type:
    return type(addition.__name__.lstrip("_") + kind.__name__, (addition, kind), {})


def reconnecting(client: Redis, address: RedisUrl) -> Redis:
    """Have all connections of a client that has none yet close themselves so, and lead to where an address leads.

    Returns the client.
    """
    pool: Any = client.connection_pool
    pool.connection_class = _with(_Reconnecting, _with(_Unnamed, whole_answers(pool.connection_class)))
    if address.sentinels:
        pool.connection_class = _with(_LedToPrimary, pool.connection_class)
        pool.connection_kwargs["address"] = address
    return client


def led_to_primary(parameters: dict[str, Any], address: RedisUrl) -> dict[str, Any]:
    """Return the parameters of kombu's connections, changed so that they lead to where an address leads."""
    # kombu's are made anew each time
    kind = type("Unnamed", (_Unnamed, WholeAnswers, parameters["connection_class"]), {})
    if not address.sentinels:
        return {**parameters, "connection_class": kind}
    kind = type("LedToPrimary", (_LedToPrimary, kind), {})
    return {**parameters, "connection_class": kind, "address": address}


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
