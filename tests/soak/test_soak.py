"""Workers and broker are killed, frozen and cut off while agents write: nothing lost, doubled or reordered.

Each worker folds what it appends to, in runs of a few entries, as long as it lives: also what is another's meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from memrepo_worker.journal.layout import CONTENT_BYTES_MIN
from memrepo_worker.settings import WorkerSettings
from tests.soak.faults import WORKERS, Faults
from tests.soak.load import Load
from tests.soak.verdict import judge
from tests.support.valkey import valkey
from tests.support.waiting import wait_for
from tests.support.workers import fleet

SHARDS = 64
STORE_DELAY_S = 0.02


@dataclass(frozen=True)
class Size:
    agents: int
    commits: int
    rounds: int
    per_s: float
    lease_s: float


def soak(size: Size, folder: Path, seed: int) -> None:
    """Run the load, do every fault ``rounds`` times in an order drawn from ``seed``, and judge."""
    random = Random(seed)
    with valkey(folder / "valkey", fsync="always") as server:
        settings = WorkerSettings(
            broker_url=server.url, result_url=server.url, shards=SHARDS, lease_s=size.lease_s
        )
        service = {"folder": str(folder), "delay_s": STORE_DELAY_S, "folds": True}
        handler = "tests.support.real_service:real_service"
        load = Load(server, SHARDS, [f"a{number}" for number in range(size.agents)], random)
        with fleet(folder / "workers", settings, handler, service) as workers:
            for _ in range(WORKERS):
                workers.start()
            faults = Faults(server, workers, Random(seed + 1), size.lease_s)
            with load.watching(), ThreadPoolExecutor(1) as at_the_same_time:
                _run(load, faults, size, random, at_the_same_time)
                wait_for(load.all_done, "all requests to have a final state", 120)
    verdict = judge(load, folder / "store", folder / "restored")
    stalls = [load.longest_wait_s(kill_s, kill_s + size.lease_s + 2) for kill_s in faults.kills_s]
    print(f"\nsoak, seed {seed}: {verdict}; longest stall after a kill {max(stalls):.1f} s")
    assert (verdict.lost, verdict.doubled, verdict.foreign, verdict.reordered) == (0, 0, 0, 0)
    assert (verdict.stale_reads, verdict.failed) == (0, 0)
    assert verdict.commits == size.commits
    assert folded(folder / "store") > size.agents, "owners did not fold"


def folded(store: Path) -> int:
    """Return how many bases and segments with content there are."""
    made = [*store.glob("*/*/repo.git/base/*.bundle"), *store.glob("*/*/repo.git/segment/*.bundle")]
    return sum(path.stat().st_size >= CONTENT_BYTES_MIN for path in made)


def _run(
    load: Load, faults: Faults, size: Size, random: Random, at_the_same_time: ThreadPoolExecutor
) -> None:
    to_do = [fault for _ in range(size.rounds) for fault in faults.all()]
    random.shuffle(to_do)
    under_way = [at_the_same_time.submit(_in_turn, to_do)]
    for number in range(size.commits):
        load.commit(number)
        if number % 4 == 0:
            load.read()
        time.sleep(1 / size.per_s)
    under_way[0].result(timeout=600)


def _in_turn(faults: list[Callable[[], None]]) -> None:
    for fault in faults:
        time.sleep(1)
        fault()


@pytest.mark.timeout(300)
def test_a_short_soak(tmp_path: Path) -> None:
    soak(Size(agents=20, commits=1000, rounds=1, per_s=40, lease_s=3.0), tmp_path, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_long_soak(tmp_path: Path) -> None:
    soak(Size(agents=60, commits=6000, rounds=5, per_s=40, lease_s=3.0), tmp_path, seed=2)
