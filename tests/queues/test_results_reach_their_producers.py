from __future__ import annotations

import json

import redis

from memrepo.errors import HeadMovedError, from_wire
from memrepo.wire.operations import COMMIT
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender, commit_request, sender
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for


def test_a_success_is_stored_in_celerys_own_form(send: Sender, broker: Valkey) -> None:
    request = commit_request("acme", "a")
    meta = send.final(send.send(request))

    assert (meta["status"], meta["task_id"], meta["traceback"]) == ("SUCCESS", request.request_id, None)
    assert COMMIT.result_from_json(meta["result"]).request_id == request.request_id
    assert 0 < broker.client().ttl(f"celery-task-meta-{request.request_id}") <= 3600


def test_a_failure_crosses_the_queue_as_itself(send: Sender) -> None:
    meta = send.final(send.commit("acme", "a", message="moved"))

    assert meta["status"] == "FAILURE"
    assert meta["traceback"] is None
    name, (message, details), module = (
        meta["result"][key] for key in ("exc_type", "exc_message", "exc_module")
    )
    assert module == "memrepo.errors"
    error = from_wire(name, message, details)
    assert isinstance(error, HeadMovedError)
    assert error.details == {"head": "0" * 40}


def test_a_result_is_published_on_the_clients_reply_channel_and_on_its_own(
    send: Sender, broker: Valkey
) -> None:
    request = commit_request("acme", "a")
    with (
        broker.client().pubsub() as listening,
        sender(broker, SHARDS, "memrepo.replies.c1") as replying,
    ):
        listening.subscribe("memrepo.replies.c1", f"celery-task-meta-{request.request_id}")
        replying.send(request)
        heard: dict[str, str] = {}

        def both() -> bool:
            message = listening.get_message(ignore_subscribe_messages=True, timeout=1)
            if message:
                heard[message["channel"]] = message["data"]
            return len(heard) == 2

        wait_for(both, "the result on both channels")

    assert {json.loads(data)["status"] for data in heard.values()} == {"SUCCESS"}


def test_the_first_final_result_stays_and_whoever_asks_again_is_told_that_one(
    send: Sender, effects: redis.Redis, broker: Valkey
) -> None:
    request = commit_request("acme", "a")
    first = send.final(send.send(request))
    with (
        broker.client().pubsub() as listening,
        sender(broker, SHARDS, "memrepo.replies.c2") as replying,
    ):
        listening.subscribe("memrepo.replies.c2")
        replying.send(request)
        answer = wait_for(
            lambda: listening.get_message(ignore_subscribe_messages=True, timeout=1), "the second answer"
        )

    assert json.loads(answer["data"]) == first
    assert effects.lrange("effects:acme/a", 0, -1) == [request.request_id]


def test_a_running_request_is_started_and_a_final_state_is_not_overwritten(
    send: Sender, effects: redis.Redis
) -> None:
    effects.set("hold:acme/h", 1)
    request_id = send.commit("acme", "h")

    wait_for(lambda: (send.meta(request_id) or {}).get("status") == "STARTED", "the request to be started")
    effects.delete("hold:acme/h")

    assert send.final(request_id)["status"] == "SUCCESS"


def test_while_the_store_is_away_requests_are_retried_in_place_and_in_order(
    send: Sender, effects: redis.Redis
) -> None:
    effects.set("down", 1)
    ids = [send.commit("acme", "d") for _ in range(5)]
    wait_for(lambda: (send.meta(ids[0]) or {}).get("status") == "RETRY", "the first request to be retried")

    effects.delete("down")

    assert [send.final(request_id)["status"] for request_id in ids] == ["SUCCESS"] * 5
    assert effects.lrange("effects:acme/d", 0, -1) == ids


def test_one_request_that_always_fails_fails_alone_and_names_its_id(
    send: Sender, effects: redis.Redis
) -> None:
    effects.set("hold:acme/p", 1)
    first = send.commit("acme", "p")
    wait_for(lambda: effects.llen("begun"), "the first group to begin")
    before, poison, after = (send.commit("acme", "p", message) for message in ("m", "poison", "m"))
    effects.delete("hold:acme/p")

    states = {request_id: send.final(request_id) for request_id in (first, before, poison, after)}

    assert [meta["status"] for meta in states.values()] == ["SUCCESS", "SUCCESS", "FAILURE", "SUCCESS"]
    assert states[poison]["result"]["exc_type"] == "WorkerFaultError"
    assert states[poison]["result"]["exc_message"][1]["request_id"] == poison
    assert "SECRET-CONTENT" not in json.dumps(states[poison])
    assert effects.lrange("effects:acme/p", 0, -1) == [first, before, after]
