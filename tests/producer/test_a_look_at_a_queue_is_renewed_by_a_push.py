"""Who sends now and again waits for no look at a queue's depth: what is pushed brings one along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from memrepo import MemoryRepoBusyError, Settings
from memrepo.dispatch.connection import BATCH_BYTES_MAX, BrokerConnection, Message
from memrepo.dispatch.depths import RENEWED_S, TRUSTED_S
from memrepo.ids import new_id
from memrepo.routing import route
from memrepo.wire.keys import unacked_key
from memrepo.wire.operations import operation_of
from tests.support.sending import commit_request
from tests.support.valkey import Valkey

QUEUE = route("acme", "agent-1")
SHARD_MAX = 5


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connection(broker: Valkey, settings: Settings, clock: Clock) -> Iterator[BrokerConnection]:
    broker.client().delete(QUEUE, unacked_key(QUEUE))
    connection = BrokerConnection(replace(settings, shard_depth_max=SHARD_MAX), clock)
    connection.open()
    yield connection
    connection.disconnect()
    broker.client().delete(QUEUE, unacked_key(QUEUE))


def message(content: bytes = b"x") -> Message:
    request = commit_request("acme", "agent-1", "Learn", content)
    return Message(new_id(), operation_of(request).task_name, request, QUEUE, reply_to="r", give_up_at_s=1e9)


def looks(broker: Valkey) -> int:
    with broker.client() as client:
        return int(client.info("commandstats").get("cmdstat_hlen", {"calls": 0})["calls"])


def send(connection: BrokerConnection) -> Message:
    [admitted] = connection.refuse_where_deep([message()])
    connection.publish([admitted])
    return admitted


def test_a_look_that_a_push_has_renewed_is_not_made_again_before_the_next(
    broker: Valkey, connection: BrokerConnection, clock: Clock
) -> None:
    send(connection)
    clock.now_s += 1.5 * RENEWED_S
    send(connection)
    clock.now_s += TRUSTED_S - RENEWED_S  # the first look holds no longer
    before = looks(broker)

    assert len(connection.refuse_where_deep([message()])) == 1

    assert looks(broker) == before


def test_what_a_push_has_seen_refuses_the_next(
    broker: Valkey, connection: BrokerConnection, clock: Clock
) -> None:
    send(connection)
    broker.client().lpush(QUEUE, *range(SHARD_MAX))  # others send, too
    clock.now_s += 1.5 * RENEWED_S
    send(connection)
    refused = message()

    assert connection.refuse_where_deep([refused]) == []

    error = refused.sent.exception(0)
    assert isinstance(error, MemoryRepoBusyError)
    assert error.details["shard_depth"] == SHARD_MAX + 2


def test_what_is_pushed_last_of_a_large_batch_is_seen_too(
    broker: Valkey, connection: BrokerConnection, clock: Clock
) -> None:
    """It takes several pushes; of those that came later, the first had seen nothing."""
    send(connection)
    clock.now_s += 1.5 * RENEWED_S
    large = b"x" * (BATCH_BYTES_MAX // 2)
    batch = [message(large), message(large), message(large), message()]
    assert len(batch) == SHARD_MAX - 1

    connection.publish(connection.refuse_where_deep(batch))

    assert broker.client().llen(QUEUE) == SHARD_MAX
    assert connection.refuse_where_deep([message()]) == []


def test_what_cannot_be_counted_is_no_fault_of_the_push(
    broker: Valkey, connection: BrokerConnection, clock: Clock
) -> None:
    send(connection)
    broker.client().set(unacked_key(QUEUE), "no hash")
    clock.now_s += 1.5 * RENEWED_S

    send(connection)

    assert broker.client().llen(QUEUE) == 2
