"""The broker fails as it does in the field while clients write and cancel: what they are told is what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.soak.brokers import PRODUCER, WORKER, brokers
from tests.soak.clients import Clients
from tests.soak.faults import BrokerFaults, Faults
from tests.soak.hostile_agents import AGENTS_PER_HOSTILE, hostile_agents
from tests.soak.through_clients import LEASE_S, Fault, producer_settings, soak
from tests.support.hostile import ORG, REFUSED
from tests.support.workers import WorkerFleet


@dataclass(frozen=True)
class Size:
    agents: int
    rounds: int
    per_s: float
    hostile: float
    """How large the loads of hostile agents are; 1 is what they were found with."""
    workers_too: bool = False
    """Whether workers are killed and frozen, and the broker crashes, as well."""


def soak_one_broker(size: Size, folder: Path, seed: int) -> None:
    (folder / "refuses").write_text(f"refuses {ORG}/{REFUSED}/\n")
    with brokers(folder / "valkey") as servers:
        agents = [f"a{number}" for number in range(size.agents)]
        clients = Clients(producer_settings(servers.url(PRODUCER)), agents, Random(seed), size.per_s)
        count = size.agents // AGENTS_PER_HOSTILE
        hostile = hostile_agents(count, servers, clients.settings, size.hostile, seed)

        def faults(workers: WorkerFleet) -> list[Fault]:
            found = BrokerFaults(servers, workers, clients).all()
            if size.workers_too:
                found += Faults(servers, workers, Random(seed + 1), LEASE_S).all()
            return found * size.rounds

        soak(clients, servers.url(WORKER), faults, hostile, folder, seed + 2)


@pytest.mark.timeout(300)
def test_a_short_soak_through_clients(tmp_path: Path) -> None:
    soak_one_broker(Size(agents=40, rounds=1, per_s=40, hostile=0.05), tmp_path, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak_through_clients(tmp_path: Path) -> None:
    soak_one_broker(Size(agents=100, rounds=5, per_s=40, hostile=0.1, workers_too=True), tmp_path, seed=2)
