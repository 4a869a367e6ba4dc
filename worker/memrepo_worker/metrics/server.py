"""The page that Prometheus reads: ``http://HOST:PORT/metrics``, in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo_worker.metrics.counters import counter_families, level_families
from memrepo_worker.metrics.queues import QueueMetrics, ReadShards
from memrepo_worker.metrics.requests import RequestMetrics
from memrepo_worker.observe import Counters


class _WorkerCollector(Collector):
    """What is looked up at each scrape."""

    def __init__(self, counters: Counters, queues: QueueMetrics) -> None:
        self._counters = counters
        self._queues = queues

    @override
    def collect(self) -> Iterator[Metric]:
        yield from counter_families(self._counters)
        yield from level_families(self._counters)
        yield from self._queues.families()


def build_registry(counters: Counters, read_shards: ReadShards) -> CollectorRegistry:
    """Return all metrics of a worker; from here on each request that ends is counted."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    counters.listen(RequestMetrics(registry))
    registry.register(_WorkerCollector(counters, QueueMetrics(read_shards)))
    return registry


@contextmanager
def serving_metrics(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve the page within the block; yields the port, which is a free one where 0 was asked for.

    Raises:
        InvalidRequestError: the address cannot be had; the message names the settings.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = f"{host}:{port} cannot be listened at ({error.strerror or error}): choose another, or `off`"
        raise InvalidRequestError.of("MEMREPO_METRICS_PORT", reason) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
