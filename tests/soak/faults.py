"""What is done to workers and broker while the load goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from memrepo import Job
from memrepo.redis.address import parse_redis_url
from memrepo.redis.celery_app import OwnCelery
from tests.soak.brokers import PRODUCER, WORKER, Brokers
from tests.soak.clients import Clients
from tests.support.workers import WorkerFleet, WorkerProcess

WORKERS = 3
FULL_S = 10.0
PAUSED_S = 5.0
"""Longer than a client with the default times waits."""
RIGHTS_S = 4.0
STORM_S = 3.0
ENDED_S = 120.0
"""Far more than a worker that is asked to takes to end: the machine may have much else to do."""


class Server(Protocol):
    """What is done to a broker."""

    def cut_all_connections(self) -> None:
        """Close every client's socket."""

    def kill(self) -> None:
        """End it as a crash would."""

    def start(self) -> None:
        """Start it again."""


@dataclass
class Faults:
    """Each method is one fault, seen through to the point from which all should go well again."""

    server: Server
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
        victim.process.wait(ENDED_S)
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


@dataclass
class BrokerFaults:
    """What befalls the broker in the field, and storms of cancels."""

    brokers: Brokers
    workers: WorkerFleet
    clients: Clients

    def all(self) -> list[Callable[[], None]]:
        """Return every fault once."""
        return [
            self.fail_over_with_open_connections,
            self.fail_over_with_a_lost_tail,
            self.full,
            self.pause,
            self.forget_scripts,
            self.change_passwords,
            self.take_rights_from_workers,
            self.take_rights_from_producers,
            self.cancel_jobs,
            self.revoke_jobs,
        ]

    def fail_over_with_open_connections(self) -> None:
        self.brokers.fail_over()

    def fail_over_with_a_lost_tail(self) -> None:
        """With what was acknowledged and is not served: nobody serves meanwhile."""
        serving = [worker for worker in self.workers.workers if worker.process.poll() is None]
        for worker in serving:
            worker.pause()
        try:
            self.brokers.lose_the_tail()
        finally:
            for worker in serving:
                worker.resume()

    def full(self) -> None:
        with self.brokers.full():
            time.sleep(FULL_S)

    def pause(self) -> None:
        self.brokers.pause(PAUSED_S)

    def forget_scripts(self) -> None:
        self.brokers.forget_scripts()

    def change_passwords(self) -> None:
        with self.brokers.other_passwords():
            time.sleep(RIGHTS_S)

    def take_rights_from_workers(self) -> None:
        with self.brokers.fewer_rights(WORKER):
            time.sleep(RIGHTS_S)

    def take_rights_from_producers(self) -> None:
        with self.brokers.fewer_rights(PRODUCER):
            time.sleep(RIGHTS_S)

    def cancel_jobs(self) -> None:
        with storm(self.clients, lambda job: job.cancel()):
            time.sleep(STORM_S)

    def revoke_jobs(self) -> None:
        revoke_in_a_storm(self.clients, self.brokers.url(WORKER))


@contextmanager
def storm(clients: Clients, cancel: Callable[[Job[Any]], object]) -> Iterator[None]:
    """Have half of the jobs cancelled as soon as they are there, until the block ends."""
    clients.cancel = cancel
    try:
        yield
    finally:
        clients.cancel = None


def revoke_in_a_storm(clients: Clients, url: str) -> None:
    """Have half of the jobs revoked by Celery's remote control for a while."""
    address = parse_redis_url(url, "URL")
    with OwnCelery(address, address) as app:
        app.connect_as_client()
        with storm(clients, lambda job: app.control.revoke(job.id)):
            time.sleep(STORM_S)
