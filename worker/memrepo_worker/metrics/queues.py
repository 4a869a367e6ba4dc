"""What waits at the broker, over all shards, and what producers refused: asked for at each scrape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis import RedisError

from memrepo.clock import Clock, steady_clock
from memrepo_worker.queues.leases.status import ShardStatus

_FRESH_S = 1.0
"""For how long one look answers all scrapes: whoever scrapes too often costs the broker nothing."""

ReadShards = Callable[[], Sequence[ShardStatus]]

ReadRefused = Callable[[], Mapping[str, int]]
"""Gives how many requests each bound on depths has had producers refuse."""


class QueueMetrics:
    """Reads all shards at most once a second. Every worker of a broker tells the same of them.

    ``cell`` is which of several brokers it is: a label, so that those of all can be added up.
    """

    def __init__(
        self,
        read_shards: ReadShards,
        clock: Clock = steady_clock,
        read_refused: ReadRefused = dict,
        cell: str = "",
    ) -> None:
        self._read_shards = read_shards
        self._read_refused = read_refused
        self._clock = clock
        self._labels = {"cell": cell} if cell else {}
        self._lock = threading.Lock()
        self._read_at_s = -_FRESH_S
        self._families: list[Metric] = []

    def families(self) -> list[Metric]:
        """Return all of them; of a broker that cannot be reached only that it is not."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._read_at_s >= _FRESH_S:
                self._families = self._read()
                self._read_at_s = now_s
            return self._families

    def _read(self) -> list[Metric]:
        try:
            shards, refused = self._read_shards(), self._read_refused()
        except (RedisError, OSError):
            return [self._gauge("memrepo_broker_up", 0)]
        return [
            self._gauge("memrepo_broker_up", 1),
            *(self._gauge(name, value) for name, value in _values(shards).items()),
            self._refused(refused),
        ]

    def _refused(self, counts: Mapping[str, int]) -> CounterMetricFamily:
        about = "Requests that producers refused, with MemoryRepoBusyError, as too many waited: by the bound."
        family = CounterMetricFamily("memrepo_requests_refused", about, labels=["bound", *self._labels])
        for bound, count in counts.items():
            family.add_metric([bound, *self._labels.values()], count)
        return family

    def _gauge(self, name: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, HELP[name], labels=[*self._labels])
        family.add_metric([*self._labels.values()], value)
        return family


HELP = {
    "memrepo_broker_up": "Whether the broker answered this scrape.",
    "memrepo_requests_unsettled": "Requests that wait or are in flight, over all shards: what to scale by.",
    "memrepo_requests_waiting": "Requests in the queues, over all shards, that no worker has taken.",
    "memrepo_requests_in_flight": "Requests that a worker has taken and not answered, over all shards.",
    "memrepo_oldest_waiting_seconds": "Since when the oldest of those in the queues waits; 0 where none does.",
    "memrepo_oldest_in_flight_seconds": "Since when the oldest of those taken is not answered; 0 where none is.",
    "memrepo_shards_without_owner": "Shards that no live worker owns.",
    "memrepo_shards": "Shards in all.",
}


def _values(shards: Sequence[ShardStatus]) -> dict[str, float]:
    return {
        "memrepo_requests_unsettled": sum(shard.depth for shard in shards),
        "memrepo_requests_waiting": sum(shard.waiting for shard in shards),
        "memrepo_requests_in_flight": sum(shard.in_flight for shard in shards),
        "memrepo_oldest_waiting_seconds": max(
            (shard.oldest_waiting_s or 0.0 for shard in shards), default=0.0
        ),
        "memrepo_oldest_in_flight_seconds": max(
            (shard.oldest_in_flight_s or 0.0 for shard in shards), default=0.0
        ),
        "memrepo_shards_without_owner": sum(
            shard.owner is None or (shard.lease_left_s or 0.0) < 0 for shard in shards
        ),
        "memrepo_shards": len(shards),
    }
