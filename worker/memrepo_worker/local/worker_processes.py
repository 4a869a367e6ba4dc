"""Workers of one machine under one process: they share its cache, a page of metrics, and the signal to stop."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from memrepo_worker.local.children import PYTHON
from memrepo_worker.local.ports import HOST
from memrepo_worker.local.stop_signals import StopSignals
from memrepo_worker.local.supervisor import Supervisor
from memrepo_worker.logs import log
from memrepo_worker.metrics.joined import joined_registry
from memrepo_worker.metrics.server import listen, serving_metrics
from memrepo_worker.processes import Process, Processes
from memrepo_worker.settings import WorkerSettings

logger = logging.getLogger(__name__)

_GRACE_S = 30.0
"""For handing over, after what was running had its time (``MEMREPO_SOFT_SHUTDOWN_TIMEOUT_S``)."""


@dataclass
class WorkerProcesses:
    """Starts workers as children of this process.

    ``name`` is what theirs begin with; a host in it, after ``@``, is that of each. ``options`` are given to each,
    ``env`` is their environment.
    """

    settings: WorkerSettings
    processes: Processes
    name: str
    options: Sequence[str]
    env: Mapping[str, str]
    _pages: dict[int, str] = field(default_factory=dict)

    def run(self, count: int, signals: StopSignals) -> int:
        """Serve with ``count`` processes until a signal asks to stop; return the exit code."""
        grace_s = self.settings.soft_shutdown_timeout_s + _GRACE_S
        supervisor = Supervisor(count, self._start, grace_s)
        with self._metrics(count):
            message = f"{count} worker processes: {self._name(1)} to {self._name(count)}"
            log(logger, logging.INFO, "supervisor.started", message, {"processes": count})
            return supervisor.run(signals.stopped, signals.hurried)

    def _start(self, number: int) -> Process:
        """Start one, which inherits the socket at which it is to serve its page: so nobody takes its port meanwhile."""
        if self.settings.metrics_port is None:
            return self._start_with(number, 0)
        with socket.create_server((HOST, 0)) as listening:
            started = self._start_with(number, listening.fileno())
            self._pages[number] = f"http://{HOST}:{listening.getsockname()[1]}/metrics"
        return started

    def _start_with(self, number: int, file: int) -> Process:
        own = ["--name", self._name(number), "--supervised", str(file)]
        arguments = [*PYTHON, "-m", "memrepo_worker", "worker", *own, *self.options]
        inherited = (file,) if file else ()
        return self.processes.start(arguments, env=self.env, lifeline=True, inherited=inherited)

    def _name(self, number: int) -> str:
        name, at, host = self.name.partition("@")
        return f"{name}-{number}{at}{host}"

    @contextmanager
    def _metrics(self, count: int) -> Iterator[None]:
        port, host = self.settings.metrics_port, self.settings.metrics_host
        if port is None:
            yield
            return
        pages = joined_registry(lambda: dict(self._pages), count)
        with serving_metrics(pages, listen(host, port)) as taken:
            message = f"metrics of all processes at http://{host}:{taken}/metrics"
            log(logger, logging.INFO, "supervisor.metrics", message, {"host": host, "port": taken})
            yield
