"""Sentinels make another server the primary, asked to or as the primary is gone, while clients write and cancel."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from random import Random

import pytest

from tests.soak.clients import Clients
from tests.soak.through_clients import Fault, producer_settings, soak
from tests.support.sentinel import Watched, watched
from tests.support.workers import WorkerFleet


def soak_sentinels(agents: int, rounds: int, folder: Path, seed: int) -> None:
    with watched(folder / "valkey") as servers:
        names = [f"a{number}" for number in range(agents)]
        clients = Clients(producer_settings(servers.url), names, Random(seed), per_s=30)

        def faults(_: WorkerFleet) -> list[Fault]:
            return [_fail_over_by_sentinels(servers), _lose_the_primary(servers)] * rounds

        soak(clients, servers.url, faults, nullcontext(), folder, seed)


def _fail_over_by_sentinels(servers: Watched) -> Fault:
    def fail_over_by_sentinels() -> None:
        servers.wait_until_followed()
        servers.fail_over()

    return fail_over_by_sentinels


def _lose_the_primary(servers: Watched) -> Fault:
    def lose_the_primary() -> None:
        servers.wait_until_followed()
        servers.bring_back(servers.kill_primary())

    return lose_the_primary


@pytest.mark.timeout(300)
def test_a_short_soak_behind_sentinels(tmp_path: Path) -> None:
    soak_sentinels(20, 1, tmp_path, seed=3)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak_behind_sentinels(tmp_path: Path) -> None:
    soak_sentinels(60, 5, tmp_path, seed=4)
