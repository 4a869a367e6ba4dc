"""Refused messages cost the consumer next to nothing, and what they wait for nobody else waits for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
import redis

from memrepo.routing import queue_name, shard_of
from memrepo.wire.keys import unacked_key
from memrepo_worker.observe import Counters
from memrepo_worker.queues.consumer.refusals import Refusals
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.transport.messages import Refused
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER, SHARDS
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, fleet

QUEUE = queue_name(shard_of("acme", "a", SHARDS))
FORGED = 300


def envelope(task_id: str, body: str = "W1tdLCB7fSwge31d", **properties: object) -> str:
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "os.system", "id": task_id},
            "properties": {"correlation_id": task_id, "body_encoding": "base64", **properties},
        }
    )


def unacked(client: redis.Redis, queue: str, messages: int) -> bool:
    return bool(client.hlen(unacked_key(queue)) == messages)


def scripts_run(client: redis.Redis) -> int:
    return sum(
        stats["calls"]
        for command, stats in client.info("commandstats").items()
        if command in ("cmdstat_eval", "cmdstat_evalsha")
    )


def test_many_refused_messages_take_a_few_scripts_together(
    send: Sender, broker: Valkey, workers: WorkerFleet
) -> None:
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    ids = [str(uuid4()) for _ in range(FORGED)]
    with broker.client() as client:
        before = scripts_run(client)
        lines = workers.workers[0].output.count("refused a message")

        client.lpush(QUEUE, *(message for task_id in ids for message in (envelope(task_id), "no envelope")))
        wait_for(lambda: client.llen(QUEUE) + client.hlen(unacked_key(QUEUE)) == 0, "all to be refused")

        assert (
            scripts_run(client) - before < FORGED
        )  # of twice as many messages; one each would be several times that
        assert workers.workers[0].output.count("refused a message") - lines <= 20
    assert {present["status"] for task_id in ids if (present := send.meta(task_id))} == {"FAILURE"}
    assert all(send.meta(task_id) for task_id in ids)
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"


def test_valid_requests_among_refused_ones_are_served_in_order(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    ids = []
    for _ in range(20):
        ids.append(send.commit("acme", "a"))
        with broker.client() as client:
            client.lpush(QUEUE, envelope(str(uuid4())), "no envelope")

    assert {send.final(task_id)["status"] for task_id in ids} == {"SUCCESS"}
    assert effects.lrange("effects:acme/a", 0, -1) == ids


@pytest.mark.parametrize("reply_to", ["somebody.else", "\ud800", ["memrepo.replies.x"], 7])
def test_a_job_is_told_on_channels_for_replies_alone(send: Sender, broker: Valkey, reply_to: object) -> None:
    task_id = str(uuid4())
    with broker.client() as client, client.pubsub() as listening:
        listening.subscribe("somebody.else")
        listening.get_message(timeout=5)

        client.lpush(QUEUE, envelope(task_id, reply_to=reply_to))

        assert send.final(task_id)["status"] == "FAILURE"
        assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
        assert listening.get_message(timeout=0.1) is None


@pytest.mark.parametrize("task_id", ["\ud800", "x" * 256, ["x"], {}, ""])
def test_a_message_whose_id_is_none_is_removed(send: Sender, broker: Valkey, task_id: object) -> None:
    request = commit_request("acme", "a")

    send.send(request, headers={"task": "memrepo.commit", "id": task_id})

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    with broker.client() as client:
        wait_for(lambda: client.hlen(unacked_key(QUEUE)) == 0, "the message to be gone")


@pytest.fixture
def apart(broker: Valkey, settings: WorkerSettings, tmp_path: Path) -> Iterator[tuple[Valkey, WorkerFleet]]:
    """A result store of its own, and a worker on another database of the broker that keeps its results there."""
    with valkey(tmp_path / "results") as results:
        own = replace(settings, broker_url=broker.database(2), result_url=results.url)
        with fleet(tmp_path / "workers", own, HANDLER, broker.database(3)) as running:
            running.start()
            yield results, running


def test_a_result_store_that_takes_nothing_keeps_no_shard_from_being_delivered(
    broker: Valkey, apart: tuple[Valkey, WorkerFleet]
) -> None:
    results, _ = apart
    other = queue_name((shard_of("acme", "a", SHARDS) + 1) % SHARDS)
    task_ids = [str(uuid4()), str(uuid4())]
    with broker.client(2) as client, results.client() as records:
        wait_for(lambda: client.hlen("memrepo:owners") == SHARDS, "the worker to own all")
        records.execute_command("CLIENT", "PAUSE", 600_000, "WRITE")
        for queue, task_id in zip((QUEUE, other), task_ids, strict=True):
            client.lpush(queue, envelope(task_id))

            wait_for(partial(unacked, client, queue, 1), "the message to be delivered")
            assert client.llen(queue) == 0
        with results.client() as another:
            another.execute_command("CLIENT", "UNPAUSE")
        for queue in (QUEUE, other):
            wait_for(partial(unacked, client, queue, 0), "the message to be removed")
        assert [json.loads(records.get(f"celery-task-meta-{one}"))["status"] for one in task_ids] == [
            "FAILURE",
            "FAILURE",
        ]


class Removing:
    """A result backend that takes no failure, and whose broker does not remove the message of number 1."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def fail(self, *_: object) -> list[str]:
        raise ValueError("a fault of ours")

    def ensure_acknowledged(self, _messages: object, _owned_shard: object, numbers: list[str]) -> bool:
        if "1" in numbers:
            raise redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        self.removed += numbers
        return True


def test_a_message_that_cannot_even_be_removed_keeps_no_other_from_being_refused() -> None:
    backend, nobody = Removing(), cast("Any", None)
    counters = Counters()
    refusals = Refusals(cast("Any", backend), nobody, nobody, nobody, counters, together=False)
    owned_shard = OwnedShard(0, "token", 0.0)

    for number in ("1", "2", "3"):
        refusals.refuse(Refused("shape", owned_shard, number))

    wait_for(lambda: backend.removed == ["2", "3"], "the others to be removed")
    refusals.refuse(Refused("shape", owned_shard, "4"))
    wait_for(lambda: backend.removed == ["2", "3", "4"], "one that comes later to be removed")
