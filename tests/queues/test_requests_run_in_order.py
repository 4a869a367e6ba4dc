from __future__ import annotations

import json

import redis

from tests.support.sending import Sender
from tests.support.waiting import wait_for


def groups(effects: redis.Redis, agent: str) -> list[list[str]]:
    entries = [json.loads(entry) for entry in effects.lrange("begun", 0, -1)]
    return [entry["ids"] for entry in entries if entry["agent"] == agent]


def test_each_agents_requests_are_executed_in_the_order_enqueued(send: Sender, effects: redis.Redis) -> None:
    agents = [f"a{number}" for number in range(10)]
    enqueued: dict[str, list[str]] = {agent: [] for agent in agents}
    for _ in range(20):
        for agent in agents:
            enqueued[agent].append(send.commit("acme", agent))

    for agent in agents:
        for request_id in enqueued[agent]:
            assert send.final(request_id)["status"] == "SUCCESS"

    assert {agent: effects.lrange(f"effects:acme/{agent}", 0, -1) for agent in agents} == enqueued


def test_requests_that_wait_behind_a_slow_group_become_one_group(send: Sender, effects: redis.Redis) -> None:
    effects.set("hold:acme/slow", 1)
    first = send.commit("acme", "slow")
    wait_for(lambda: groups(effects, "acme/slow"), "the first group to begin")
    rest = [send.commit("acme", "slow") for _ in range(49)] + [send.read("acme", "slow")]
    other = send.commit("acme", "quick")
    assert send.final(other)["status"] == "SUCCESS"
    overtaken = send.commit("acme", "slow")

    effects.delete("hold:acme/slow")

    assert send.final(overtaken)["status"] == "SUCCESS"
    assert groups(effects, "acme/slow") == [[first], rest, [overtaken]]


def test_what_a_worker_has_loaded_is_left_out_of_its_garbage_collection(
    send: Sender, effects: redis.Redis
) -> None:
    """All threads stop while a collection looks at what it has: in all requests' time, for what never goes."""
    send.final(send.commit("acme", "anybody"))

    [entry] = effects.lrange("begun", 0, -1)
    assert json.loads(entry)["frozen"] > 20_000
