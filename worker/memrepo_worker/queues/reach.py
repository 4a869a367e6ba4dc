"""Reaching a Redis when a worker starts, and when ``doctor`` looks: it must do what a worker needs, or say why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import uuid4

from redis import Redis, RedisError

from memrepo.redis.address import RedisUrl
from memrepo.redis.client import connect, understand
from memrepo.redis.errors import MissingRightsError, WrongModeError, refuse_mode
from memrepo.redis.rights import Right, require_rights
from memrepo.redis.script import Script, lua
from memrepo.redis.trouble import Role, Server, Trouble
from memrepo.wire.rights import WORKER_ON_RESULTS, worker_on_broker
from memrepo_worker.settings import WorkerSettings

REACH_TIMEOUT_S = 5.0

_TRY_WRITE = Script(lua(__package__, "try_write"))


@contextmanager
def reaching(url: RedisUrl, role: Role) -> Iterator[Redis]:
    """Give a client of a Redis for the block.

    Raises:
        BrokerUnavailableError: it cannot be reached or used, say as a node of a cluster or a Sentinel; the message says
            which one, and why.
    """
    try:
        with connect(url, connect_timeout_s=REACH_TIMEOUT_S, timeout_s=REACH_TIMEOUT_S, retries=1) as client:
            refuse_mode(client.execute_command("HELLO"))
            yield client
    except (RedisError, MissingRightsError, WrongModeError, OSError) as error:
        raise Trouble(Server(role, url), understand(error, url), error).error() from error


def rights_asker(settings: WorkerSettings) -> Callable[[], None]:
    """Return what asks, for as long as a heartbeat may take, whether a worker has all the rights that it needs.

    It has connections of its own: a silent server is waited for no longer, and what waits at others is not touched.
    What comes back raises MissingRightsError, which names them, or redis.RedisError.
    """
    apart = settings.results != settings.broker
    wait_s = min(1.0, settings.lease_s / 5)
    broker = connect(settings.broker, connect_timeout_s=wait_s, timeout_s=wait_s)
    results = connect(settings.results, connect_timeout_s=wait_s, timeout_s=wait_s) if apart else broker

    def ask() -> None:
        require_rights(broker, worker_on_broker(settings.broker.database), settings.broker.username)
        require_rights(results, WORKER_ON_RESULTS, settings.results.username)

    return ask


def try_out(client: Redis, url: RedisUrl, needed: Sequence[Right]) -> None:
    """Do in small what a worker does (write and publish in a script), and ask whether the user has all rights needed.

    Raises:
        MissingRightsError: its user lacks some.
        redis.RedisError: it does not do one of these.
    """
    require_rights(client, needed, url.username)
    _TRY_WRITE.run(client, [f"memrepo:probe:{uuid4().hex}"], [])
