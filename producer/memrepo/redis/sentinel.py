"""Finding the primary by its Sentinels: asked anew for each connection, since it may be another one each time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from memrepo.redis.address import RedisUrl
from memrepo.redis.answers import whole_answers
from memrepo.redis.errors import NoPrimaryError, words_of

if TYPE_CHECKING:
    from redis import Redis

ANSWER_TIMEOUT_S = 1.0
"""How long one Sentinel may take: a dead one costs that much before the next is asked."""

_rounds = count()


def find_primary(address: RedisUrl) -> tuple[str, int]:
    """Return where the primary of an address is, as the first Sentinel says that knows.

    Another one is asked first each time: one that was cut off from the others would name the former primary for ever.

    Raises:
        redis.ConnectionError: none knows. Its cause is what one that does not answer met us with; or, where all answer,
            ``NoPrimaryError``: none watches a primary of that name.
    """
    from redis import RedisError  # noqa: PLC0415 - `import memrepo` stays light
    from redis.exceptions import ConnectionError as RedisConnectionError  # noqa: PLC0415 - likewise

    first = next(_rounds) % len(address.sentinels)
    met: Exception | None = None
    unknown: list[str] = []
    for host, port in address.sentinels[first:] + address.sentinels[:first]:
        try:
            found = _ask(host, port, address)
        except (RedisError, OSError) as error:
            met = error
        else:
            if found is not None:
                return found
            unknown.append(f"{host}:{port}")
    if met is None:
        met = NoPrimaryError(f"none of {', '.join(sorted(unknown))} watches {address.master_name}")
        raise RedisConnectionError(str(met)) from met
    raise RedisConnectionError(
        f"no Sentinel answers that knows {address.master_name}: {words_of(met)}"
    ) from met


def _ask(host: str, port: int, address: RedisUrl) -> tuple[str, int] | None:
    with _sentinel(host, port, address) as client:
        found: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.master_name)
    return None if found is None else (str(found[0]), int(found[1]))


def _sentinel(host: str, port: int, address: RedisUrl) -> Redis:
    from redis import Redis  # noqa: PLC0415 - as above
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
    from redis.retry import Retry  # noqa: PLC0415 - as above

    options: Mapping[str, Any] = {"ssl": True, **address.tls} if address.tls else {}
    client = Redis(
        host,
        port,
        decode_responses=True,
        socket_connect_timeout=ANSWER_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        username=address.sentinel_username,
        password=address.sentinel_password,
        **options,
    )
    client.connection_pool.connection_class = whole_answers(client.connection_pool.connection_class)
    return client
