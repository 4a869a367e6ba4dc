"""The page that Prometheus reads: ``http://HOST:PORT/metrics``, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo_worker.metrics.counters import counter_families, level_families
from memrepo_worker.metrics.queues import QueueMetrics, ReadRefused, ReadShards
from memrepo_worker.metrics.requests import RequestMetrics
from memrepo_worker.observe import Counters

CONNECTIONS_MAX = 16
"""More at once than anybody scrapes with: beyond them the oldest is closed, so that none who idles keeps others out."""

CONNECTION_SILENT_S_MAX = 10.0


class _Handler(WSGIRequestHandler):
    timeout = CONNECTION_SILENT_S_MAX

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Log no scrape."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, of which there are so many at most."""

    daemon_threads = True

    def __init__(self, listening: socket.socket) -> None:
        self._open: dict[Any, None] = {}
        self._lock = threading.Lock()
        address = listening.getsockname()[:2]
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = str(address[0]), int(address[1])
        self.setup_environ()

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > CONNECTIONS_MAX else None
            self._open.pop(oldest, None)
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that broke or was silent is its client's trouble."""


class _WorkerCollector(Collector):
    """What is looked up at each scrape."""

    def __init__(self, counters: Counters, queues: QueueMetrics, cell: str) -> None:
        self._counters = counters
        self._queues = queues
        self._about = {"version": version("memrepo"), **({"cell": cell} if cell else {})}

    @override
    def collect(self) -> Iterator[Metric]:
        said = "Which memrepo this worker is, and of which cell: always 1."
        info = GaugeMetricFamily("memrepo_worker_info", said, labels=[*self._about])
        info.add_metric([*self._about.values()], 1)
        yield info
        yield from counter_families(self._counters)
        yield from level_families(self._counters)
        yield from self._queues.families()


def build_registry(
    counters: Counters, read_shards: ReadShards, read_refused: ReadRefused = dict, cell: str = ""
) -> CollectorRegistry:
    """Return all metrics of a worker, of this cell if of any; from here on each request that ends is counted."""
    # A second series for each counter and histogram, which nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has not typed it
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    counters.listen(RequestMetrics(registry))
    queues = QueueMetrics(read_shards, read_refused=read_refused, cell=cell)
    registry.register(_WorkerCollector(counters, queues, cell))
    return registry


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; at a free port where 0 was asked for.

    Raises:
        InvalidRequestError: the address cannot be had; the message names the settings.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server((str(found[0][4][0]), port), family=found[0][0], backlog=CONNECTIONS_MAX)
    except OSError as error:
        reason = f"{host}:{port} cannot be listened at ({error.strerror or error}): choose another, or `off`"
        raise InvalidRequestError.of("MEMREPO_METRICS_PORT", reason) from error


@contextmanager
def serving_metrics(registry: CollectorRegistry, listening: socket.socket) -> Iterator[int]:
    """Serve the page within the block at a socket that listens, and is closed at the end; yields its port."""
    server = _Server(listening)
    server.set_app(make_wsgi_app(registry))
    thread = threading.Thread(target=server.serve_forever, name="memrepo-metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
