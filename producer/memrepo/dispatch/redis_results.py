"""The way to the store of results: a connection, and its faults as our errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memrepo.errors import MemoryRepoError
from memrepo.redis.client import connect as connect_to
from memrepo.redis.client import understand
from memrepo.redis.errors import Action
from memrepo.redis.trouble import Server, Trouble
from memrepo.settings import Settings

if TYPE_CHECKING:
    from redis import Redis


@contextmanager
def translate_redis_errors(settings: Settings) -> Iterator[None]:
    """Turn what the result store meets us with into our errors: BrokerUnavailableError, or one of what is installed."""
    try:
        yield
    except MemoryRepoError:
        raise
    except Exception as error:
        trouble = met(settings, error)
        if trouble.meaning.action is Action.REPORT:
            raise
        raise trouble.error() from error


def met(settings: Settings, error: BaseException) -> Trouble:
    """Return what an error of the result store means."""
    url = settings.results
    return Trouble(Server("result store", url), understand(error, url), error)


def connect(settings: Settings, on_accepted: Callable[[], None] | None = None) -> Redis:
    """Return a client of the result store that retries nothing by itself and waits for nothing without end.

    ``on_accepted`` is called when a connection is made, before the server has answered to anything.
    """
    return connect_to(
        settings.results,
        connect_timeout_s=settings.connect_timeout_s,
        timeout_s=settings.enqueue_timeout_s,
        on_accepted=on_accepted,
    )
