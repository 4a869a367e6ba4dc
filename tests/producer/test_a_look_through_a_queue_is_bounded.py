from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
import redis

from memrepo.dispatch.lost.search import BYTES_MAX, MESSAGES_MAX, Search
from memrepo.wire.keys import unacked_key
from tests.support.valkey import Valkey

QUEUE = "memrepo.007"
COUNT = 3 * MESSAGES_MAX


@pytest.fixture
def client(broker: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker.url) as running:
        yield running


def message(number: int, body: str = "") -> str:
    return json.dumps({"body": body, "properties": {"correlation_id": f"job-{number}"}})


def fill(client: redis.Redis, count: int, body: str = "") -> None:
    for number in range(count):
        client.lpush(QUEUE, message(number, body))


def search_for(*numbers: int) -> Search:
    search = Search(QUEUE)
    search.add(f"job-{number}" for number in numbers)
    return search


def looked_at(client: redis.Redis) -> int:
    found = client.info("commandstats").get("cmdstat_lindex")
    return int(found["calls"]) if found else 0


def test_each_call_looks_at_so_many_messages(client: redis.Redis) -> None:
    fill(client, COUNT)
    search = search_for(COUNT)
    calls = [looked_at(client)]

    for _ in range(10):
        over = search.step(client)
        calls.append(looked_at(client))
        if over:
            break

    assert over
    assert list(search.missing) == [f"job-{COUNT}"]
    assert max(after - before for before, after in pairwise(calls)) <= MESSAGES_MAX + 1


def test_each_call_looks_at_so_many_bytes(client: redis.Redis) -> None:
    fill(client, 60, "x" * (BYTES_MAX // 20))
    before = looked_at(client)

    assert not search_for(60).step(client)

    assert looked_at(client) - before <= 20


def test_what_is_there_is_found_while_a_worker_takes_messages(client: redis.Redis) -> None:
    fill(client, COUNT)
    sought = range(0, COUNT, 100)
    search = search_for(*sought, COUNT)
    number = 0

    while not search.step(client):
        for _ in range(130):  # more than lie between two of those that are sought
            if isinstance(taken := client.rpop(QUEUE), bytes):
                number += 1
                client.hset(unacked_key(QUEUE), str(number), taken)

    assert list(search.missing) == [f"job-{COUNT}"]
    assert number > 0


def test_what_producers_add_meanwhile_does_not_matter(client: redis.Redis) -> None:
    fill(client, COUNT)
    search = search_for(COUNT - 1)

    while not search.step(client):
        for number in range(200):
            client.lpush(QUEUE, message(COUNT + number))

    assert not search.missing


def test_what_a_worker_has_taken_is_found_in_slices(client: redis.Redis) -> None:
    for number in range(COUNT):
        client.hset(unacked_key(QUEUE), str(1_700_000_000_000_000 + number), message(number))
    search = search_for(COUNT - 1, COUNT)
    steps = 1

    while not search.step(client):
        steps += 1

    assert list(search.missing) == [f"job-{COUNT}"]
    assert steps > 3
