"""The broker fails as it does in the field while clients write and cancel: what they are told is what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from memrepo import Settings
from memrepo_worker.settings import WorkerSettings
from tests.soak.brokers import PRODUCER, WORKER, Brokers, brokers
from tests.soak.clients import Clients
from tests.soak.faults import WORKERS, BrokerFaults, Faults
from tests.soak.hostile_agents import AGENTS_PER_HOSTILE, hostile_agents
from tests.soak.told import judge
from tests.support.hostile import ORG, REFUSED
from tests.support.waiting import wait_for
from tests.support.workers import fleet

SHARDS = 64
STORE_DELAY_S = 0.02
LEASE_S = 3.0
REST_S = 1.5
"""Between faults."""


@dataclass(frozen=True)
class Size:
    agents: int
    rounds: int
    per_s: float
    hostile: float
    """How large the loads of hostile agents are; 1 is what they were found with."""
    workers_too: bool = False
    """Whether workers are killed and frozen, and the broker crashes, as well."""


def soak(size: Size, folder: Path, seed: int) -> None:
    """Run clients, do every fault ``rounds`` times in an order drawn from ``seed``, and judge."""
    (folder / "refuses").write_text(f"refuses {ORG}/{REFUSED}/\n")
    with brokers(folder / "valkey") as servers:
        clients = Clients(
            producer_settings(servers),
            [f"a{number}" for number in range(size.agents)],
            Random(seed),
            size.per_s,
        )
        service = {"folder": str(folder), "delay_s": STORE_DELAY_S}
        handler = "tests.support.real_service:real_service"
        with fleet(folder / "workers", worker_settings(servers), handler, service) as workers:
            for _ in range(WORKERS):
                workers.start()
            to_do = BrokerFaults(servers, workers, clients).all()
            if size.workers_too:
                to_do += Faults(servers, workers, Random(seed + 1), LEASE_S).all()
            to_do *= size.rounds
            Random(seed + 2).shuffle(to_do)
            hostile = hostile_agents(
                size.agents // AGENTS_PER_HOSTILE, servers, clients.settings, size.hostile, seed
            )
            with clients.running(), hostile as loads:
                wait_for(clients.all_begun, "each agent to have a commit", 60)
                began = _in_turn(to_do)
    told, lines = judge(clients, folder / "store", folder / "restored")
    print(f"\nsoak through clients, seed {seed}: {told}; hostile loads: {loads}")
    for name, stall_s in _stalls(clients, began).items():
        print(f"  longest stall after {name}: {stall_s:.1f} s")
    print("  slowest:", *clients.slowest(8), sep="\n    ")
    assert told.wrong == {}, "\n".join(lines)


def producer_settings(servers: Brokers) -> Settings:
    url = servers.url(PRODUCER)
    return Settings(url, url, shards=SHARDS, enqueue_timeout_s=30.0, resend_after_s=5.0)


def worker_settings(servers: Brokers) -> WorkerSettings:
    url = servers.url(WORKER)
    return WorkerSettings(broker_url=url, result_url=url, shards=SHARDS, lease_s=LEASE_S)


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


@pytest.mark.timeout(300)
def test_a_short_soak_through_clients(tmp_path: Path) -> None:
    soak(Size(agents=40, rounds=1, per_s=40, hostile=0.05), tmp_path, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak_through_clients(tmp_path: Path) -> None:
    soak(Size(agents=100, rounds=5, per_s=40, hostile=0.3, workers_too=True), tmp_path, seed=2)
