"""Which queues a worker serves now, as the broker says: asked in the background, on the publisher's connection."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from memrepo.clock import Clock, steady_clock
from memrepo.dispatch.publisher import Publisher
from memrepo.errors import MemoryRepoError
from memrepo.routing import queue_name
from memrepo.wire.agreement import check_shards
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY, SHARDS_KEY

if TYPE_CHECKING:
    from celery import Celery
    from kombu.messaging import Producer
    from redis import Redis

TRUSTED_S = 10.0  # how long an answer counts
FRESH_S = 5.0  # how long there is no need for another
ANSWER_S = (
    2.0  # after that long without one the broker is asked anew: it was not there, or the thread is held up
)


class Serving:
    """Knows for each queue whether a worker serves it, as of the last answer. Thread-safe."""

    def __init__(self, publisher: Publisher, shards: int, clock: Clock = steady_clock) -> None:
        self._publisher = publisher
        self._shards = shards
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: Future[None] = Future()
        self._asked_at_s = float("-inf")
        self._served: frozenset[str] = frozenset()
        self._answered_at_s = float("-inf")

    def is_served(self, queue: str | None) -> bool | None:
        """Return whether a worker serves a queue; None where the broker has not said so of late."""
        if queue is None or self._clock() - self._answered_at_s > TRUSTED_S:
            return None
        return queue in self._served

    def refresh(self) -> None:
        """Have the broker asked, unless it was of late: so that there is always an answer that counts."""
        if self._clock() - self._answered_at_s > FRESH_S:
            self.ask()

    def ask(self) -> Future[None]:
        """Have the broker asked, without blocking.

        What comes back is done when it has answered; never, if it cannot be reached.
        """
        with self._lock:
            if not self._asked.done() and self._clock() - self._asked_at_s < ANSWER_S:
                return self._asked
            asked = self._asked = Future()
            self._asked_at_s = self._clock()

        def look(_: Celery, producer: Producer) -> None:
            try:
                self._served = served_queues(producer.channel.client, self._shards)
                self._answered_at_s = self._clock()
            finally:
                asked.set_result(None)

        try:
            self._publisher.send(look)
        except MemoryRepoError:  # the client was closed meanwhile
            asked.set_result(None)
        return asked


def served_queues(broker: Redis, shards: int) -> frozenset[str]:
    """Return the queues that have an owner whose lease is not over.

    Raises:
        InvalidRequestError: its first worker came after this client had connected, and has another number of shards.
        redis.RedisError: the broker does not answer.
    """
    with broker.pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.hkeys(OWNERS_KEY)
        pipeline.zrange(LEASES_KEY, 0, -1, withscores=True)
        pipeline.get(SHARDS_KEY)
        (seconds, microseconds), owned, leases, recorded = pipeline.execute()
    check_shards(recorded, shards)
    now_ms = seconds * 1000 + microseconds // 1000
    served = {shard for shard, until_ms in leases if until_ms > now_ms} & set(owned)
    return frozenset(queue_name(int(shard)) for shard in served if shard.isdigit())
