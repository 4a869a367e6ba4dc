"""What our delivery relies on in the server and in redis-py: announcements, and who gets them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from memrepo.redis.script import ScriptRunner
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.transport.messages import pop
from memrepo_worker.queues.transport.tracking import TrackingConnection
from tests.support.ports import LOOPBACK
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

QUEUES = {"memrepo.000", "memrepo.001"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey-announcing")) as running:
        yield running


@pytest.fixture
def others(server: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def owned_shards(others: redis.Redis) -> list[OwnedShard]:
    tokens = RedisLeases(others, "worker", 60).take([0, 1], iter(("token-a", "token-b")).__next__)
    return [OwnedShard(shard, token, 0.0) for shard, token in tokens.items()]


@pytest.fixture
def watching(server: Valkey, owned_shards: list[OwnedShard]) -> Iterator[TrackingConnection]:
    connection = TrackingConnection(redis.Connection, {"host": LOOPBACK, "port": server.port, "db": 0})
    look(connection, owned_shards)
    connection.changed(QUEUES)
    yield connection
    connection.close()


def look(watching: ScriptRunner, owned_shards: list[OwnedShard]) -> list[int]:
    return [
        len(popped.deliveries) for popped in pop(watching, owned_shards, messages_max=10, bytes_max=10**6)
    ]


def heard(watching: TrackingConnection) -> set[str]:
    watching.hear()
    return watching.changed(QUEUES)


def test_any_producers_push_is_announced_each_time_after_the_queue_was_looked_at(
    watching: TrackingConnection, owned_shards: list[OwnedShard], others: redis.Redis
) -> None:
    for _ in range(3):
        others.lpush("memrepo.001", "message")
        assert wait_for(lambda: heard(watching), "the announcement") == {"memrepo.001"}
        assert look(watching, owned_shards) == [0, 1]
        assert heard(watching) == set()


def test_other_workers_deliveries_are_not_announced(
    watching: TrackingConnection, others: redis.Redis
) -> None:
    [shard] = RedisLeases(others, "other", 60).take([7], lambda: "token-c").items()
    heard(watching)  # the owners changed, which is no queue of ours
    others.lpush("memrepo.007", "message")
    assert look(others, [OwnedShard(*shard, 0.0)]) == [1]
    others.lpush("memrepo.000", "last")

    assert wait_for(lambda: heard(watching), "an announcement") == {"memrepo.000"}


def test_a_flush_makes_the_server_forget_what_it_watches_so_everything_is_looked_at(
    watching: TrackingConnection, server: Valkey
) -> None:
    with redis.Redis(port=server.port, db=3) as elsewhere:
        elsewhere.flushdb()

    assert wait_for(lambda: heard(watching), "the announcement") == QUEUES


def test_a_connection_that_was_cut_says_so_instead_of_watching_nothing(
    watching: TrackingConnection, owned_shards: list[OwnedShard], server: Valkey
) -> None:
    server.cut_all_connections()

    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            look(watching, owned_shards)


def test_a_deep_queue_keeps_no_other_waiting(
    watching: TrackingConnection, owned_shards: list[OwnedShard], others: redis.Redis
) -> None:
    others.lpush("memrepo.000", *range(100))
    others.lpush("memrepo.001", "only")

    assert look(watching, owned_shards) == [10, 1]
