"""What is done to workers and broker while the load goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.support.valkey import Valkey
from tests.support.workers import WorkerFleet, WorkerProcess

WORKERS = 3


@dataclass
class Faults:
    """Each method is one fault, seen through to the point from which all should go well again."""

    server: Valkey
    workers: WorkerFleet
    random: Random
    lease_s: float
    kills_s: list[float] = field(default_factory=list)

    def all(self) -> list[Callable[[], None]]:
        """Return every fault once."""
        return [
            self.kill_a_worker,
            self.terminate_a_worker,
            self.start_a_worker,
            self.cut_all_sockets,
            self.crash_the_broker,
            self.freeze_a_worker,
        ]

    def kill_a_worker(self) -> None:
        victim = self._any()
        self.kills_s.append(time.monotonic())
        victim.kill()
        self._refill()
        time.sleep(self.lease_s + 2)

    def terminate_a_worker(self) -> None:
        victim = self._any()
        victim.terminate()
        victim.process.wait(30)
        self._refill()

    def start_a_worker(self) -> None:
        self.workers.start()
        if len(self._alive()) > WORKERS + 1:
            self._any().terminate()

    def cut_all_sockets(self) -> None:
        self.server.cut_all_connections()

    def crash_the_broker(self) -> None:
        self.server.kill()
        time.sleep(0.5)
        self.server.start()

    def freeze_a_worker(self) -> None:
        victim = self._any()
        victim.pause()
        time.sleep(self.lease_s + 2)
        victim.resume()

    def _alive(self) -> list[WorkerProcess]:
        return [worker for worker in self.workers.workers if worker.process.poll() is None]

    def _any(self) -> WorkerProcess:
        return self.random.choice(self._alive())

    def _refill(self) -> None:
        while len(self._alive()) < WORKERS:
            self.workers.start()
