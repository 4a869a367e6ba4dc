"""What the broker and the result store must let a worker do, and how well they keep what they are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from redis import Redis

from memrepo.clock import Clock, steady_clock, system_clock
from memrepo.errors import BrokerUnavailableError, MemoryRepoError
from memrepo.redis.errors import MissingRightsError
from memrepo.redis.rights import Right, missing_rights, require_rights
from memrepo.redis.trouble import Server
from memrepo.wire.rights import PRODUCER_ON_BROKER, PRODUCER_ON_RESULTS, WORKER_ON_RESULTS, worker_on_broker
from memrepo_worker.cli.checks.check import Found, NotFitError
from memrepo_worker.queues.leases.agreement import check_cells, check_names, check_shards
from memrepo_worker.queues.reach import reaching, try_out
from memrepo_worker.settings import WorkerSettings

NEARLY_FULL = 0.9
"""From which part of its memory on a broker is near its end."""

_MORE_ROOM = "raise maxmemory, or have results kept for less time (MEMREPO_RESULT_EXPIRES_S)"

SKEW_S_MAX = 30.0
"""How far two clocks may be apart before it is told; requests and ledgers bear a day."""

ANSWER_S_MAX = 0.02
"""What a round trip may take: a commit takes several."""

_ASKED = 5

_OF_A_PRODUCER = (
    "its user has a producer's rights, which are less than a worker needs. Leave it so, and name a worker's user and "
    "password in the address here: docs/acl.conf has both users."
)


@dataclass(frozen=True)
class Clocks:
    """The time of this machine, and how long something takes."""

    wall: Clock = system_clock
    steady: Clock = steady_clock


def check_broker(settings: WorkerSettings, clocks: Clocks | None = None) -> Found:
    """Check that the broker serves us, keeps what it is given, and is used by others as we use it."""
    try:
        with reaching(settings.broker, "broker") as broker:
            of_a_worker = worker_on_broker(settings.broker.database)
            with _telling_a_producer(
                broker, Server("broker", settings.broker), PRODUCER_ON_BROKER, of_a_worker
            ):
                try_out(broker, settings.broker, of_a_worker)
                if settings.results == settings.broker:
                    require_rights(broker, WORKER_ON_RESULTS, settings.broker.username)
            check_cells(broker, settings.cell, settings.each_cell)
            check_shards(broker, settings.shards)
            check_names(broker, settings.limits.portable_names)
            return _look_at(
                broker, str(settings.broker), "takes no requests", "is queued", clocks or Clocks()
            )
    except MemoryRepoError as error:
        raise NotFitError(error.message) from error


def check_results(settings: WorkerSettings, clocks: Clocks | None = None) -> Found:
    """Check that the result store takes results, and keeps them until they are read."""
    try:
        with reaching(settings.results, "result store") as results:
            with _telling_a_producer(
                results, Server("result store", settings.results), PRODUCER_ON_RESULTS, WORKER_ON_RESULTS
            ):
                try_out(results, settings.results, WORKER_ON_RESULTS)
            return _look_at(
                results, str(settings.results), "takes no results", "has not been read", clocks or Clocks()
            )
    except MemoryRepoError as error:
        raise NotFitError(error.message) from error


@contextmanager
def _telling_a_producer(
    client: Redis, server: Server, of_a_producer: Sequence[Right], of_a_worker: Sequence[Right]
) -> Iterator[None]:
    """Tell of a user that lacks what a worker needs, and has what a producer needs, that it is a producer's.

    What would give it the rest is not told: it would make a worker of every producer. A worker's own user may lack a
    right or two, and is told these.
    """
    try:
        yield
    except MissingRightsError as error:
        beyond = [one for one in of_a_worker if one not in of_a_producer]
        with suppress(MissingRightsError):
            require_rights(client, of_a_producer, server.url.username)
            if len(missing_rights(client, beyond, server.url.username)) > len(beyond) / 2:
                raise BrokerUnavailableError(f"{server} cannot be used: {_OF_A_PRODUCER}") from error
        raise


def _look_at(server: Redis, address: str, when_full: str, what: str, clocks: Clocks) -> Found:
    """Return what a server says of itself; ``when_full`` is what it does then, ``what`` it keeps for us."""
    about = server.info("server")
    kind = "valkey" if "valkey_version" in about else "redis"
    warnings = [
        *_of_persistence(server.info("persistence"), what),
        *_of_memory(server.info("memory"), when_full, what),
        *_of_time(server, clocks),
    ]
    return Found(f"{address}, {kind} {about.get(f'{kind}_version', 'of unknown version')}", tuple(warnings))


def _of_persistence(found: Mapping[str, Any], what: str) -> Iterator[str]:
    if not found.get("aof_enabled"):
        yield f"appendonly is off, so a restart of it loses what {what}: set `appendonly yes`"
    elif found.get("aof_last_write_status", "ok") != "ok":
        yield f"it cannot write its append-only file, so a restart loses what {what}: make room on its disk"


def _of_memory(found: Mapping[str, Any], when_full: str, what: str) -> Iterator[str]:
    used, most = found.get("used_memory", 0), found.get("maxmemory", 0)
    if 0 < most <= used:
        yield f"its memory is full, so that it {when_full} until workers have made room or results expire: {_MORE_ROOM}"
    elif used > NEARLY_FULL * most > 0:
        yield f"{used / most:.0%} of its memory (maxmemory) is used, once it is full it {when_full}: {_MORE_ROOM}"
    if found.get("maxmemory_policy") != "noeviction":
        yield f"it may drop what {what}: set `maxmemory-policy noeviction`"


def _of_time(server: Redis, clocks: Clocks) -> Iterator[str]:
    took_s, apart_s = [], []
    for _ in range(_ASKED):
        before_s, began_s = clocks.steady(), clocks.wall()
        seconds, microseconds = server.time()
        took_s.append(clocks.steady() - before_s)
        apart_s.append(seconds + microseconds / 1e6 - began_s - took_s[-1] / 2)
    answer_s, skew_s = median(took_s), median(apart_s)
    if abs(skew_s) > SKEW_S_MAX:
        side = "ahead of" if skew_s > 0 else "behind"
        yield (
            f"its clock is {abs(skew_s):.0f} s {side} this machine's: have both set by NTP, as requests are told by "
            "their time, and one that seems older than a day is refused"
        )
    if answer_s > ANSWER_S_MAX:
        yield f"it takes {answer_s * 1000:.0f} ms to answer, and a commit asks several times: run workers near it"
