"""The five stock behaviours that break order or single ownership, and the window in which a message is lost.

Each test shows kombu's own transport doing it, then ours not. Should a new kombu behave, the first half fails and
our cure can go.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import redis
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.message import Message
from kombu.messaging import Consumer, Producer

from memrepo.redis.address import parse_redis_url
from memrepo.redis.script import Script
from memrepo.wire.keys import LEASES_KEY
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases import deliverable
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.queues.transport.channel import transport_for
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import RedisMessages
from memrepo_worker.queues.transport.scripts import POP
from tests.support.jobs import present
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

QUEUE, SHARD = "memrepo.000", 0
UNACKED = "memrepo:unacked:000"


@dataclass
class Client:
    """A consumer of the queue; ``messages`` are what it was given."""

    connection: Connection
    messages: list[Message] = field(default_factory=list)
    _consumer: Consumer | None = None

    @property
    def consumer(self) -> Consumer:
        return present(self._consumer)

    @property
    def channel(self) -> Any:
        """kombu's, or our own: both are asked for what only they have."""
        return self.consumer.channel

    def consume(self) -> None:
        queue = Queue(QUEUE, routing_key=QUEUE, no_declare=True)
        self._consumer = Consumer(
            self.connection.channel(), [queue], on_message=self.messages.append, accept=["json"]
        )
        self.consumer.consume()

    @property
    def bodies(self) -> list[int]:
        return [message.payload for message in self.messages]

    def drain(self, messages: int) -> None:
        """Receive so many messages, by stock polling."""
        wait_for(lambda: self.has_drained(messages), f"{messages} messages")

    def has_drained(self, messages: int) -> bool:
        with suppress(TimeoutError):
            self.connection.drain_events(timeout=0.1)
        return len(self.messages) >= messages

    def deliver(self) -> None:
        """Receive what waits, by our own delivery."""
        self.channel.deliver_waiting()


@dataclass
class Process:
    """What one worker process has of our transport."""

    leases: RedisLeases
    owned_shards: OwnedShards
    shard_context: ShardContext
    connect: Callable[[], Client]

    def take(self) -> bool:
        """Take the shard; return whether it was to be had."""
        tokens = self.leases.take([SHARD], lambda: f"token-{next(_NUMBERS)}")
        for shard, token in tokens.items():
            self.owned_shards.begin(shard, token, 0.0)
        return bool(tokens)


_NUMBERS = count()


class Scene:
    """A queue with messages 1, 2, 3, … and whoever consumes it."""

    def __init__(self, server: Valkey, stack: ExitStack) -> None:
        self.redis = redis.Redis(port=server.port)
        self.redis.flushall()
        self._server = server
        self._stack = stack
        self._producer = Producer(stack.enter_context(self._connection()))

    def push(self, *numbers: int) -> None:
        for number in numbers:
            self._producer.publish(number, exchange="", routing_key=QUEUE, serializer="json", headers={})

    def stock(self) -> Client:
        client = Client(self._stack.enter_context(self._connection()))
        client.consume()
        return client

    def end_the_lease(self) -> None:
        """Have the time be over until when the shard's owner may be silent."""
        assert self.redis.zcard(LEASES_KEY) == 1
        self.redis.zadd(LEASES_KEY, {str(SHARD): 0}, xx=True)

    def ours(self) -> Process:
        broker = redis.Redis(port=self._server.port)
        leases = RedisLeases(broker, f"worker-{next(_NUMBERS)}", 60.0)
        owned_shards = OwnedShards()
        shard_context = ShardContext(leases, RedisMessages(broker), owned_shards, Counters())

        def connect() -> Client:
            connection = self._connection(
                transport=transport_for(shard_context, parse_redis_url(self._server.url, "URL"))
            )
            client = Client(self._stack.enter_context(connection))
            client.consume()
            return client

        return Process(leases, owned_shards, shard_context, connect)

    def queued(self) -> list[int]:
        """Return what lies in the queue, the next to be delivered first."""
        return [self._number(raw) for raw in reversed(self.redis.lrange(QUEUE, 0, -1))]

    def _connection(self, **options: object) -> Connection:
        return Connection(self._server.url, **{"transport_options": {"priority_steps": [0]}, **options})

    def _number(self, raw: bytes | str) -> int:
        return int(base64.b64decode(json.loads(raw)["body"]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey-alone")) as running:
        yield running


@pytest.fixture
def scene(server: Valkey) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(server, stack)


def test_1_what_a_closed_channel_had_fetched_keeps_its_order(scene: Scene) -> None:
    stock = scene.stock()
    scene.push(1, 2, 3, 4)
    stock.drain(3)
    stock.connection.release()
    assert scene.queued() == [3, 2, 1, 4]

    scene.redis.flushall()
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1, 2, 3)
    client.deliver()
    scene.push(4)
    client.connection.release()
    ours.leases.release(list(ours.owned_shards.all().values()))
    assert scene.queued() == [1, 2, 3, 4]


def test_2_a_queue_that_was_cancelled_delivers_nothing_more(scene: Scene) -> None:
    stock = scene.stock()
    stock.has_drained(1)  # leaves a BRPOP in flight
    stock.consumer.cancel()
    scene.push(1, 2, 3)
    wait_for(lambda: not stock.has_drained(1) and scene.queued() == [2, 3, 1], "the pop in flight to be over")
    assert (stock.bodies, scene.queued()) == ([], [2, 3, 1])

    scene.redis.flushall()
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    client.deliver()
    ours.owned_shards.close([SHARD])
    scene.push(1, 2, 3)
    client.channel.look_again()
    client.deliver()
    assert (client.bodies, scene.queued()) == ([], [1, 2, 3])


def test_a_shard_is_closed_in_the_middle_of_a_round_and_keeps_the_rest_in_order(scene: Scene) -> None:
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1, 2, 3)
    owned_shard = present(ours.owned_shards.get(SHARD))
    closing = threading.Thread(target=ours.owned_shards.close, args=([SHARD],))

    def close_meanwhile(message: Message) -> None:
        client.messages.append(message)
        closing.start()
        wait_for(lambda: not owned_shard.is_open, "the shard to be closed while a message is on its way", 5)

    client.consumer.on_message = close_meanwhile
    client.deliver()
    closing.join()

    assert client.bodies == [1]
    ours.leases.release([owned_shard])
    assert scene.queued() == [1, 2, 3]


def test_what_a_refusal_of_the_server_keeps_from_being_delivered_comes_with_the_next_round(
    scene: Scene,
) -> None:
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1, 2, 3)
    refusals = iter([redis.ResponseError("NOPERM")])

    def refuse_the_second(message: Message) -> None:
        error = next(refusals, None) if message.payload == 2 else None
        if error is not None:
            raise error
        client.messages.append(message)

    client.consumer.on_message = refuse_the_second
    client.deliver()
    assert client.bodies == [1]

    client.channel.shard_context.deliverable.clear(deliverable.DELIVERY)
    client.channel.look_again()
    client.deliver()

    assert client.bodies == [1, 2, 3]


def test_3_a_lost_connection_leaves_alone_what_is_being_worked_on(scene: Scene) -> None:
    stock = scene.stock()
    scene.push(1, 2)
    stock.drain(2)
    stock.connection.collect()
    assert sorted(scene.queued()) == [1, 2]

    scene.redis.flushall()
    ours = scene.ours()
    ours.take()
    before = ours.connect()
    scene.push(1, 2)
    before.deliver()
    before.connection.collect()
    after = ours.connect()
    scene.push(3)
    after.deliver()
    assert (before.bodies, after.bodies, scene.queued()) == ([1, 2], [3], [])


def test_4_an_acknowledgement_after_the_channel_closed_counts(scene: Scene) -> None:
    stock = scene.stock()
    scene.push(1)
    stock.drain(1)
    stock.connection.release()
    stock.messages[0].ack()
    assert scene.queued() == [1]

    again = scene.stock()
    again.channel.do_restore = False  # the cure of 3 alone
    again.drain(1)
    again.connection.release()
    with pytest.raises(AttributeError):  # no connection error: Celery's worker dies of it
        again.messages[0].ack()

    scene.redis.flushall()
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1)
    client.deliver()
    client.connection.release()
    assert scene.redis.hlen(UNACKED) == 1
    client.messages[0].ack()
    assert scene.redis.hlen(UNACKED) == 0


def test_5_what_a_dead_worker_held_comes_first(scene: Scene) -> None:
    dead = scene.stock()
    scene.push(1)
    dead.drain(1)
    living = scene.stock()
    scene.push(2)
    living.drain(1)
    assert living.bodies == [2]

    for client in (dead, living):
        client.connection.release()
    scene.redis.flushall()
    ended, present_owner = scene.ours(), scene.ours()
    ended.take()
    scene.push(1)
    ended.connect().deliver()
    assert not present_owner.take()
    scene.push(2)
    scene.end_the_lease()
    assert present_owner.take()
    client = present_owner.connect()
    client.deliver()
    assert client.bodies == [1, 2]


def test_6_a_worker_that_dies_after_the_pop_loses_nothing(scene: Scene) -> None:
    stock = scene.stock()
    stock.has_drained(1)  # leaves a BRPOP in flight
    scene.push(1)
    wait_for(lambda: scene.queued() == [], "the server to have popped it")
    stock.channel.client.connection._sock.close()  # dies before it reads the answer
    assert scene.redis.hlen("unacked") == 0

    scene.redis.flushall()
    ours = scene.ours()
    ours.take()
    scene.push(1, 2)
    _pop_and_die(scene, ours)
    assert scene.redis.hlen(UNACKED) == 2
    client = ours.connect()
    client.deliver()
    assert client.bodies == [1, 2]


def _pop_and_die(scene: Scene, ours: Process) -> None:
    [owned_shard] = ours.owned_shards.all().values()
    keys = ["memrepo:owners", "memrepo:sequence", QUEUE, UNACKED]
    connection = scene.redis.connection_pool.get_connection()
    connection.send_command(*_command(POP, keys, [10, 10_000, 10_000, owned_shard.shard, owned_shard.token]))
    wait_for(lambda: scene.queued() == [], "the server to have popped them")
    connection.disconnect()
    scene.redis.connection_pool.release(connection)


def _command(script: Script, keys: list[str], args: list[object]) -> list[object]:
    return ["EVAL", script.source, len(keys), *keys, *args]


def test_a_former_owner_neither_delivers_nor_acknowledges(scene: Scene) -> None:
    former, present = scene.ours(), scene.ours()
    former.take()
    client = former.connect()
    scene.push(1)
    client.deliver()
    scene.end_the_lease()
    assert present.take()
    scene.push(2)

    client.messages[0].ack()
    client.channel.look_again()
    client.deliver()

    assert client.bodies == [1]
    assert scene.queued() == [1, 2]


def test_numbers_rise_also_when_the_server_forgot_its_last_second(scene: Scene) -> None:
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1)
    client.deliver()
    scene.redis.delete("memrepo:sequence")
    scene.push(2)
    client.channel.look_again()
    client.deliver()

    first, second = (int(message.delivery_tag.partition("/")[2]) for message in client.messages)
    assert first < second


def test_a_server_without_memory_delivers_on_so_that_it_drains(scene: Scene) -> None:
    ours = scene.ours()
    ours.take()
    client = ours.connect()
    scene.push(1, 2)
    scene.redis.config_set("maxmemory", "1")
    try:
        client.deliver()
        assert (client.bodies, scene.queued(), scene.redis.hlen(UNACKED)) == ([1, 2], [], 2)
    finally:
        scene.redis.config_set("maxmemory", "0")


def test_taking_again_after_a_lost_answer_finds_the_shard_taken(scene: Scene) -> None:
    ours = scene.ours()
    assert ours.leases.take([SHARD], lambda: "one-token") == {SHARD: "one-token"}
    assert ours.leases.take([SHARD], lambda: "one-token") == {SHARD: "one-token"}
    assert ours.leases.take([SHARD], lambda: "another") == {}
