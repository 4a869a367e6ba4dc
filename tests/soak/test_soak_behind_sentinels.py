"""Sentinels make another server the primary, asked to or as the primary is gone, while clients write and cancel."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.soak.clients import Clients
from tests.soak.faults import STORM_S, revoke_in_a_storm, storm
from tests.soak.through_clients import Fault, producer_settings, soak
from tests.support.sentinel import Watched, watched


def soak_sentinels(agents: int, rounds: int, folder: Path, seed: int) -> None:
    with watched(folder / "valkey", patient=True) as servers:
        names = [f"a{number}" for number in range(agents)]
        clients = Clients(producer_settings(servers.url), names, Random(seed), per_s=30)
        once = SentinelFaults(servers, clients).all()
        soak(clients, servers.url, lambda _: once * rounds, nullcontext(), folder, seed)


@dataclass
class SentinelFaults:
    """What Sentinels do, by themselves or asked to, and storms of cancels, beside them too.

    A primary that is killed may take a cancel with it that only it knew, and so may one that goes on beside the next
    (docs/operations.md): so nothing is cancelled meanwhile, before its replica has all of it, or until it is a replica.
    A failover that primary and replica agree on loses nothing.
    """

    servers: Watched
    clients: Clients

    def all(self) -> list[Fault]:
        """Return every fault once."""
        return [
            self.fail_over,
            self.lose_the_primary,
            self.cancel_jobs_meanwhile,
            self.cancel_jobs,
            self.revoke_jobs,
        ]

    def fail_over(self) -> None:
        self.servers.wait_until_followed()
        self.servers.fail_over()

    def lose_the_primary(self) -> None:
        self.servers.wait_until_followed()
        self.servers.bring_back(self.servers.kill_primary())

    def cancel_jobs_meanwhile(self) -> None:
        self.servers.wait_until_followed()
        with storm(self.clients, lambda job: job.cancel()):
            self.fail_over()

    def cancel_jobs(self) -> None:
        self.servers.wait_until_followed()
        with storm(self.clients, lambda job: job.cancel()):
            time.sleep(STORM_S)

    def revoke_jobs(self) -> None:
        self.servers.wait_until_followed()
        revoke_in_a_storm(self.clients, self.servers.url)


@pytest.mark.timeout(300)
def test_a_short_soak_behind_sentinels(tmp_path: Path) -> None:
    soak_sentinels(20, 1, tmp_path, seed=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak_behind_sentinels(tmp_path: Path) -> None:
    soak_sentinels(60, 5, tmp_path, seed=4)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_cancel_is_told_truly_where_a_primary_that_its_replica_has_left_takes_no_writes(
    tmp_path: Path,
) -> None:
    """Without that setting, of 222 cancels in as many failovers 44 were told of jobs whose commits were made."""
    with watched(tmp_path / "valkey", patient=True) as servers:
        for node in servers.nodes.values():
            with node.client() as client:
                client.config_set("min-replicas-to-write", 1)
        agents = [f"a{number}" for number in range(30)]
        clients = Clients(producer_settings(servers.url), agents, Random(5), per_s=30)

        def fail_over_in_a_storm() -> None:
            servers.wait_until_followed()
            with storm(clients, lambda job: job.cancel()):
                servers.fail_over(coordinated=False)

        soak(clients, servers.url, lambda _: [fail_over_in_a_storm] * 3, nullcontext(), tmp_path, seed=3)
