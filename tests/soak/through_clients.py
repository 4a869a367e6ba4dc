"""Clients ask, faults are done, and what the clients were told is held against the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

from memrepo import Settings
from memrepo_worker.settings import WorkerSettings
from tests.soak.clients import Clients
from tests.soak.faults import WORKERS
from tests.soak.told import judge
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, fleet

SHARDS = 64
STORE_DELAY_S = 0.02
LEASE_S = 3.0
REST_S = 1.5
"""Between faults."""

Fault = Callable[[], None]


def producer_settings(url: str) -> Settings:
    """Return the settings of a client that takes its time."""
    return Settings(url, url, shards=SHARDS, enqueue_timeout_s=30.0, resend_after_s=5.0)


def soak(
    clients: Clients,
    worker_url: str,
    faults: Callable[[WorkerFleet], list[Fault]],
    hostile: AbstractContextManager[object],
    folder: Path,
    seed: int,
) -> None:
    """Run clients, and hostile agents beside them; do every fault, in an order drawn from ``seed``, and judge."""
    settings = WorkerSettings(broker_url=worker_url, result_url=worker_url, shards=SHARDS, lease_s=LEASE_S)
    service = {"folder": str(folder), "delay_s": STORE_DELAY_S}
    handler = "tests.support.real_service:real_service"
    with fleet(folder / "workers", settings, handler, service) as workers:
        for _ in range(WORKERS):
            workers.start()
        to_do = faults(workers)
        Random(seed).shuffle(to_do)
        with clients.running():
            wait_for(clients.all_begun, "each agent to have a commit", 120)
            with hostile as loads:
                began = _in_turn(to_do)
    told, lines = judge(clients, folder / "store", folder / "restored")
    print(f"\nsoak through clients, seed {seed}: {told}; hostile loads: {loads}")
    for name, stall_s in _stalls(clients, began).items():
        print(f"  longest stall after {name}: {stall_s:.1f} s")
    print("  slowest:", *clients.slowest(8), sep="\n    ")
    assert told.wrong == {}, "\n".join(lines)


def _in_turn(faults: Sequence[Callable[[], None]]) -> list[tuple[str, float, float]]:
    """Do one fault after the other; return the name of each, when it began and when it was over."""
    began = []
    for fault in faults:
        time.sleep(REST_S)
        start_s = time.monotonic()
        fault()
        began.append((fault.__name__, start_s, time.monotonic()))
        print(f"  {start_s:.1f} s to {time.monotonic():.1f} s: {fault.__name__}")
    time.sleep(REST_S)
    return began


def _stalls(clients: Clients, began: Sequence[tuple[str, float, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, start_s, end_s in began:
        found[name] = max(found.get(name, 0.0), clients.longest_wait_s(start_s, end_s + REST_S))
    return found
