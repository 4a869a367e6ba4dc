"""Whoever has a producer's rights may write odd things beside its requests: no thread of a worker repeats for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from secrets import token_urlsafe
from uuid import uuid4

import pytest
import redis

from memrepo.errors import MemoryRepoBusyError
from memrepo.limits import MARKS_SPAN_S, MIB
from memrepo.routing import queue_name, route
from memrepo.wire.cancellation import cancel
from memrepo.wire.keys import (
    ENDED_PREFIX,
    PAYLOADS_BYTES_KEY,
    PAYLOADS_UNTIL_KEY,
    REFUSED_KEY,
    payload_key,
    unacked_key,
)
from memrepo.wire.payload import Payload
from memrepo.wire.payload_store import PayloadStore
from memrepo_worker.app import build_app
from memrepo_worker.cli.shards import in_words
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.leases.status import read_refused, read_shards
from memrepo_worker.queues.results.backend import WRONG_VALUE_TRIES_MAX, ResultBackend
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

AGENTS = [f"other-{number}" for number in range(16)]
QUEUES = [queue_name(shard) for shard in range(SHARDS)]
SETS = 1024


def assert_all_are_served(send: Sender, client: redis.Redis) -> None:
    """Sixteen agents of the same worker are served, and nothing stays unacknowledged."""
    sent = [send.commit("acme", agent) for agent in AGENTS]
    assert {send.final(task_id)["status"] for task_id in sent} == {"SUCCESS"}
    wait_for(lambda: not any(client.hlen(unacked_key(queue)) for queue in QUEUES), "all to be acknowledged")


def invalid(send: Sender) -> str:
    return send.send(commit_request("acme", "a"), body=[[], {"request": {"message": 7}}, {}])


def write_a_word(client: redis.Redis) -> None:
    client.hset(PAYLOADS_BYTES_KEY, "total", "word")


def write_a_fraction(client: redis.Redis) -> None:
    client.hset(PAYLOADS_BYTES_KEY, "total", "1e3")


def write_another_type(client: redis.Redis) -> None:
    client.delete(PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY)
    client.zadd(PAYLOADS_BYTES_KEY, {"x": 1})
    client.hset(PAYLOADS_UNTIL_KEY, "x", "1")


@pytest.mark.parametrize("write", [write_a_word, write_a_fraction, write_another_type])
def test_what_payloads_take_is_counted_anew_where_it_is_no_number(
    send: Sender, broker: Valkey, write: Callable[[redis.Redis], None]
) -> None:
    with broker.client() as client:
        write(client)

        assert send.final(invalid(send))["status"] == "FAILURE"
        write(client)
        assert send.final(send.commit("acme", "a", content=b"x" * 200_000))["status"] == "SUCCESS"
        assert_all_are_served(send, client)


def test_the_new_count_is_what_the_payloads_take(broker: Valkey) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        store = PayloadStore(client, MIB)
        store.put("result:one", Payload({"a": "x" * 1000}), 60)
        before = int(client.hget(PAYLOADS_BYTES_KEY, "total"))
        client.hset(PAYLOADS_BYTES_KEY, "total", "word")
        client.hset(payload_key("result:two"), "0", "x")
        client.delete(payload_key("result:two"))
        client.zadd(payload_key("result:two"), {"x": 1})

        store.put("result:two", Payload({"a": "x" * 1000}), 60)

        assert int(client.hget(PAYLOADS_BYTES_KEY, "total")) == 2 * before
        store.remove(["result:one", "result:two"])
        assert int(client.hget(PAYLOADS_BYTES_KEY, "total")) == 0


@pytest.mark.parametrize("total", ["0", "-1000000000"])
def test_bodies_that_are_small_each_are_together_no_more_than_they_may_be_whatever_total_was_written(
    broker: Valkey, total: str
) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        store = PayloadStore(client, MIB)
        taken = 0
        for number in range(30):
            client.hset(PAYLOADS_BYTES_KEY, "total", total)
            client.zincrby(PAYLOADS_UNTIL_KEY, -60_000, "counted")  # as if a minute had gone by
            with suppress(MemoryRepoBusyError):
                store.put(f"result:{number}", Payload({"a": token_urlsafe(150_000)}), 600)
                taken += 1

        assert 4 <= taken <= 9
        assert sum(client.hstrlen(key, "0") for key in client.scan_iter(payload_key("*"))) <= MIB


def test_a_total_that_somebody_wrote_refuses_nobody_for_longer_than_a_second(broker: Valkey) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        store = PayloadStore(client, MIB)
        store.put("result:one", Payload({"a": "x" * 1000}), 600)
        before = int(client.hget(PAYLOADS_BYTES_KEY, "total"))
        client.hset(PAYLOADS_BYTES_KEY, "total", str(10**12))
        client.zincrby(PAYLOADS_UNTIL_KEY, -1_001, "counted")  # as if a second had gone by

        store.put("result:two", Payload({"a": "x" * 1000}), 600)

        assert int(client.hget(PAYLOADS_BYTES_KEY, "total")) == 2 * before


@pytest.mark.parametrize("written", ["²", "9" * 5_000, "-3", "many"])
def test_a_count_of_what_was_refused_that_is_none_is_told_as_nothing(broker: Valkey, written: str) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        client.hset(REFUSED_KEY, "agent_depth_max", written)
        client.hset(REFUSED_KEY, "shard_depth_max", 2)

        assert read_refused(client) == {"agent_depth_max": 0, "shard_depth_max": 2}


def forge_marks(client: redis.Redis) -> None:
    span = int(client.time()[0]) // MARKS_SPAN_S
    with client.pipeline(transaction=False) as pipeline:
        for number in range(SETS):
            for one in (span, span + 1):
                pipeline.set(f"{ENDED_PREFIX}{one}:{number}", "x", ex=3600)
        pipeline.execute()


def remove_marks(client: redis.Redis) -> None:
    for key in list(client.scan_iter(f"{ENDED_PREFIX}*", count=1000)):
        client.delete(key)


def test_an_answer_whose_mark_cannot_be_added_is_acknowledged_and_marked(
    send: Sender, broker: Valkey
) -> None:
    with broker.client() as client:
        forge_marks(client)
        try:
            assert_all_are_served(send, client)
            task_id = send.commit("acme", "a")
            assert send.final(task_id)["status"] == "SUCCESS"
            client.delete(f"celery-task-meta-{task_id}")
            assert not cancel(client, task_id, time.time())
        finally:
            remove_marks(client)


def test_a_task_whose_mark_cannot_be_looked_for_is_not_told_to_be_cancelled(broker: Valkey) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        forge_marks(client)

        assert not cancel(client, str(uuid4()), time.time())


def test_a_record_of_another_type_is_overwritten(send: Sender, broker: Valkey) -> None:
    request = commit_request("acme", "a")
    with broker.client() as client:
        client.lpush(f"celery-task-meta-{request.request_id}", "x")

        send.send(request)

        assert_all_are_served(send, client)
        assert json.loads(client.get(f"celery-task-meta-{request.request_id}"))["status"] == "SUCCESS"


@pytest.fixture
def backend(broker: Valkey) -> ResultBackend:
    url = broker.database(4)
    backend: ResultBackend = build_app(WorkerSettings(broker_url=url, result_url=url)).backend
    backend.client.flushdb()
    return backend


def test_what_cannot_be_sent_is_tried_once(backend: ResultBackend) -> None:
    tries: list[object] = []

    def step() -> None:
        tries.append(None)
        backend.client.execute_command("PUBLISH", "memrepo.replies.x", ["x"])

    with pytest.raises(redis.DataError):
        backend.until_done(step, ())
    assert len(tries) == 1
    assert backend.deliverable.hindrance is None


@pytest.mark.parametrize(
    "command", [("HGET", "text", "x"), ("INCRBY", "text", "1"), ("EVAL", "return nil + 1", 0)]
)
def test_what_meets_another_value_is_tried_a_few_times(
    backend: ResultBackend, command: tuple[str | int, ...]
) -> None:
    backend.client.set("text", "word")
    tries: list[object] = []

    def step() -> None:
        tries.append(None)
        backend.client.execute_command(*command)

    with pytest.raises(redis.ResponseError):
        backend.until_done(step, ())
    assert len(tries) == WRONG_VALUE_TRIES_MAX + 1
    assert backend.deliverable.hindrance is None


def test_a_write_of_another_value_that_is_gone_soon_is_done(backend: ResultBackend) -> None:
    backend.client.set("text", "word")
    tries: list[object] = []

    def step() -> object:
        tries.append(None)
        if len(tries) == WRONG_VALUE_TRIES_MAX:
            backend.client.delete("text")
        return backend.client.hset("text", "x", "1")

    assert backend.until_done(step, ()) == 1


def test_a_queue_that_is_something_else_keeps_no_other_waiting(send: Sender, broker: Valkey) -> None:
    odd = route("acme", AGENTS[0], SHARDS)
    with broker.client() as client:
        assert_all_are_served(send, client)
        client.set(odd, "x")
        try:
            others = [agent for agent in AGENTS if route("acme", agent, SHARDS) != odd]
            assert others
            for _ in range(3):
                sent = [send.commit("acme", agent) for agent in others]
                assert {send.final(task_id)["status"] for task_id in sent} == {"SUCCESS"}
        finally:
            client.delete(odd)
        assert_all_are_served(send, client)


def test_a_shard_whose_queue_is_something_else_keeps_no_other_from_being_taken_and_given(
    broker: Valkey,
) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        leases = RedisLeases(client, "w", 60.0)
        client.set(queue_name(1), "x")

        taken = leases.take([0, 1, 2], lambda: token_urlsafe(8))
        assert taken.keys() == {0, 2}
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            leases.take([1], lambda: token_urlsafe(8))

        client.delete(queue_name(1))
        taken |= leases.take([1], lambda: token_urlsafe(8))
        client.set(queue_name(1), "x")
        client.hset(unacked_key(queue_name(1)), "1", "m")
        leases.release([OwnedShard(shard, token, 0.0) for shard, token in taken.items()])
        assert leases.take([0, 2], lambda: "new") == {0: "new", 2: "new"}


@pytest.mark.parametrize("key", [QUEUES[2], unacked_key(QUEUES[2])])
def test_a_shard_whose_key_holds_something_else_hides_no_other(broker: Valkey, key: str) -> None:
    with broker.raw_client(4) as client:
        client.flushdb()
        client.lpush(QUEUES[1], "a message")
        client.set(key, "something else")

        found = read_shards(client, SHARDS)

    assert [shard.waiting for shard in found] == [0, 1, 0, 0]
    assert [shard.queue for shard in found if shard.trouble] == [QUEUES[2]]
    told = in_words(found, show_all=False)
    assert f"{QUEUES[2]} cannot be served: a key that memrepo uses holds something else" in told
