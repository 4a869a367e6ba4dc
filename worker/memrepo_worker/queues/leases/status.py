"""Who owns what and how deep the queues are: what ``memrepo shards`` shows. Reads the broker alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from memrepo.json_text import read_json
from memrepo.redis.errors import OTHER_TYPE, meaning_of
from memrepo.redis.script import Answer
from memrepo.routing import queue_name
from memrepo.validation.values import read_time_s
from memrepo.wire.keys import (
    BOUNDS,
    LEASES_KEY,
    OWNERS_KEY,
    REFUSED_KEY,
    WITHDRAWN_KEY,
    WORKERS_KEY,
    read_count,
    unacked_key,
)
from memrepo_worker.queues.leases.leases import read_owners, shard_numbers


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard at one moment. Ages are in seconds; None where there is nothing to have one.

    ``waiting`` messages lie in the queue, ``in_flight`` ones were delivered and are not acknowledged.
    ``oldest_waiting_s`` counts from when it was enqueued, ``oldest_in_flight_s`` from when it was delivered.
    ``lease_left_s`` is below zero where the owner is dead and nobody has taken over yet. ``trouble`` says why a shard
    cannot be served, where one of its keys holds something else: then nothing of it can be counted.
    """

    shard: int
    queue: str
    owner: str | None
    waiting: int
    in_flight: int
    oldest_waiting_s: float | None
    oldest_in_flight_s: float | None
    lease_left_s: float | None
    trouble: str | None = None

    @property
    def depth(self) -> int:
        """How many requests are not settled: what ``shard_depth_max`` bounds."""
        return self.waiting + self.in_flight


def read_shards(broker: Redis, shards: int) -> list[ShardStatus]:
    """Return the status of every shard, in one round trip; one whose keys hold something else hides no other.

    Raises:
        redis.RedisError: the broker cannot be reached, or does not tell.
    """
    with broker.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hgetall(OWNERS_KEY)
        pipeline.zrange(LEASES_KEY, 0, -1, withscores=True)
        for shard in range(shards):
            pipeline.llen(queue_name(shard))
            pipeline.lindex(queue_name(shard), -1)
            pipeline.hkeys(unacked_key(queue_name(shard)))
        answers = pipeline.execute(raise_on_error=False)
    (seconds, microseconds), owners, leases = map(_answered, answers[:3])
    each = answers[3:]
    now_s = seconds + microseconds / 1e6
    workers = {shard: worker for shard, (_, worker) in read_owners(owners).items()}
    until_s = {shard: until_ms / 1000 for named, until_ms in leases for shard in shard_numbers([named])}
    return [
        _status(shard, each[3 * shard : 3 * shard + 3], workers.get(shard), until_s.get(shard), now_s)
        for shard in range(shards)
    ]


def read_refused(broker: Redis) -> dict[str, int]:
    """Return how many requests producers refused by each bound on depths, since the broker began to count.

    Raises:
        redis.RedisError: the broker cannot be reached.
    """
    counts = broker.hgetall(REFUSED_KEY)
    return {bound: read_count(counts.get(bound.encode())) for bound in BOUNDS}


def live_workers(broker: Redis) -> list[str]:
    """Return the names of the workers whose heartbeat is not overdue.

    Raises:
        redis.RedisError: the broker cannot be reached.
    """
    seconds, microseconds = broker.time()
    now_ms = (seconds * 1_000_000 + microseconds) // 1000
    found = broker.zrange(WORKERS_KEY, now_ms, "+inf", byscore=True)
    return [_text(worker) for worker in found]


def withdrawn_workers(broker: Redis) -> dict[str, str]:
    """Return the workers that live and cannot deliver, so that they own nothing, and why.

    Raises:
        redis.RedisError: the broker cannot be reached.
    """
    seconds, microseconds = broker.time()
    now_ms = seconds * 1000 + microseconds // 1000
    told = map(_text, broker.zrange(WITHDRAWN_KEY, f"({now_ms}", "+inf", byscore=True))
    return {worker: reason for worker, _, reason in (one.partition(" ") for one in told)}


def _status(
    shard: int, answers: Sequence[Any], owner: str | None, until_s: float | None, now_s: float
) -> ShardStatus:
    trouble = _trouble_of(answers)
    waiting, oldest, numbers = (0, None, ()) if trouble else answers
    since_s = enqueued_s(oldest)
    return ShardStatus(
        shard=shard,
        queue=queue_name(shard),
        owner=owner,
        waiting=waiting,
        in_flight=len(numbers),
        oldest_waiting_s=None if since_s is None else max(0.0, now_s - since_s),
        oldest_in_flight_s=_oldest_in_flight_s(numbers, now_s),
        lease_left_s=None if until_s is None or owner is None else until_s - now_s,
        trouble=trouble,
    )


def _oldest_in_flight_s(numbers: Iterable[bytes], now_s: float) -> float | None:
    """Return how long ago the first of these messages was delivered; their numbers are times, if they are any."""
    times_us = [int(number) for number in numbers if number.isdigit()]
    return now_s - min(times_us) / 1e6 if times_us else None


def _trouble_of(answers: Sequence[Any]) -> str | None:
    """Return what is wrong with the keys of one shard, if that is it; raise whatever else the server met."""
    for answer in answers:
        if isinstance(answer, Exception):
            meaning = meaning_of(answer)
            return meaning.reason if meaning.is_(OTHER_TYPE) else _answered(answer)
    return None


def _answered(answer: Answer) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def enqueued_s(raw: bytes | str | None) -> float | None:
    """Return when a waiting message was enqueued, if it says so."""
    try:
        body = read_json(base64.b64decode(read_json(raw or "")["body"]))
        return read_time_s(body[1]["request"]["enqueued_at"])
    except (ValueError, TypeError, LookupError):
        return None


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
