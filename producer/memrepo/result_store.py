"""The way to the store of results: a connection, and its faults as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memrepo.errors import BrokerUnavailableError
from memrepo.settings import Settings, masked

if TYPE_CHECKING:
    from redis import Redis


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn the result store's faults into ``BrokerUnavailableError``."""
    from redis import RedisError  # noqa: PLC0415 - `import memrepo` stays light

    try:
        yield
    except (RedisError, OSError) as error:
        reason = f"No answer from the result store {masked(url)}: {type(error).__name__}."
        raise BrokerUnavailableError(reason) from error


def connect(settings: Settings) -> Redis:
    """Return a client of the result store that retries nothing by itself and waits for nothing without end."""
    from redis import Redis  # noqa: PLC0415 - `import memrepo` stays light
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return Redis.from_url(
        settings.result_url.replace("redis+socket://", "unix://", 1),  # Celery's and redis-py's word for it
        socket_connect_timeout=settings.connect_timeout_s,
        socket_timeout=settings.enqueue_timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
    )
