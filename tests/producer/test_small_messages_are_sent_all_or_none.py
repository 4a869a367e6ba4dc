"""A batch of small messages is one transaction, also where they are made slowly, as their caller's thread computes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memrepo import Settings
from memrepo.dispatch.connection import BrokerConnection, Message
from memrepo.routing import route
from memrepo.wire.operations import operation_of
from tests.support.sending import commit_request
from tests.support.valkey import Valkey

QUEUE = route("acme", "agent-1")
MESSAGES = 5


class Clock:
    """Goes on by so much each time that it is read."""

    def __init__(self) -> None:
        self.step_s = 0.0
        self._now_s = 100.0

    def __call__(self) -> float:
        self._now_s += self.step_s
        return self._now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connection(settings: Settings, clock: Clock) -> Iterator[BrokerConnection]:
    connection = BrokerConnection(settings, clock)
    connection.open()
    yield connection
    connection.disconnect()


def messages() -> list[Message]:
    made = []
    for number in range(MESSAGES):
        request = commit_request("acme", "agent-1", f"m {number}", b"x")
        task_name = operation_of(request).task_name
        made.append(Message(f"id-{number}", task_name, request, QUEUE, reply_to="r", give_up_at_s=1000.0))
    return made


def transactions(broker: Valkey) -> int:
    with broker.client() as client:
        return int(client.info("commandstats").get("cmdstat_exec", {"calls": 0})["calls"])


@pytest.mark.parametrize("step_s", [0.0, 0.1])
def test_a_batch_is_pushed_in_one_transaction_in_order(
    broker: Valkey, connection: BrokerConnection, clock: Clock, step_s: float
) -> None:
    """Whoever tries again does so with the whole batch: what had been pushed before the rest would be there twice."""
    before = transactions(broker)
    clock.step_s = step_s

    connection.publish(messages())

    assert transactions(broker) - before == 1
    with broker.client() as client:
        waiting = client.lrange(QUEUE, 0, -1)
    found = [f'"id": "id-{number}"' in raw for number, raw in enumerate(reversed(waiting))]
    assert found == [True] * MESSAGES
