"""What one agent's load does to others: commits of 50 healthy agents beside it, against the same agents alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.bench_processes import wait_until_shared
from benchmarks.figures import Figure, at_least, at_most, p50, p95
from benchmarks.hostile_load import doing_harm
from benchmarks.lab import Bench, Lab
from benchmarks.neighbours import commit_times, memory_peak
from memrepo_worker.settings import WorkerSettings
from tests.support.hostile import ORG, REFUSED

ALONE_S, BESIDE_S = 10.0, 15.0
REFUSED_S, REFUSED_LONG_S = 20.0, 70.0
"""For so long, alone and beside: in the long form, each agent's 64 newest entries are folded once in either."""
LOADS: Mapping[str, float] = {
    "files of newlines": 0.5,
    "reads of 60 KB": 100.0,
    "histories of large files": 5.0,
    "large commits": 0.15,
    "a deep group": 100.0,
    "forged messages": 10.0,
    "a forged record": 2.0,
    "bodies that unpack": 1.0,
    "a refused prefix": 3.0,
    "a base beyond all numbers": 1.0,
    "a billion paths": 1.0,
    "256 MiB in 256 KB": 0.3,
    "300,000 refs": 0.3,
    "cold journals": 0.3,
}
"""Each load, and how many of its requests must be answered in a second: else it is the load that gave way."""
GIB = 1024**3
LEASE_S = WorkerSettings.lease_s


def isolation(lab: Lab) -> Iterator[Figure]:
    """Measure beside each load of hostile agents, the worker's memory and what the load got done as well."""
    for load, least in LOADS.items():
        if lab.part not in load:
            continue
        refuses = lab.new_folder(f"refusing-{lab.next_number()}") / "refuses"
        refuses.write_text(f"refuses {ORG}/{REFUSED}\n")
        with (
            lab.worker(refuses=refuses if load == "a refused prefix" else None) as bench,
            memory_peak(bench.pid) as peak,
        ):
            commit_times(bench, 1.0)  # warm
            alone = commit_times(bench, ALONE_S)
            with doing_harm(lab, bench, load) as answered:
                time.sleep(1.0)
                before, began_s = answered.stat().st_size, time.monotonic()
                beside = commit_times(bench, BESIDE_S)
                done = (answered.stat().st_size - before) / (time.monotonic() - began_s)
        parts = {**_parts(alone, beside), "commits beside": len(beside)}
        yield Figure(f"commit p95 beside {load} / alone", p95(beside) / p95(alone), "x", at_most(3), parts)
        yield Figure(f"requests of {load} answered meanwhile", done, "/s", at_least(least))
        yield Figure(f"memory of the worker beside {load}", peak.bytes / GIB, "GiB", at_most(1))


def refused(lab: Lab) -> Iterator[Figure]:
    """Measure beside agents whose store refuses them, or hangs; and a hand-over meanwhile."""
    seconds = REFUSED_LONG_S if lab.long else REFUSED_S
    for what, count in (("refuses", 16), ("refuses", 64), ("hangs", 16), ("hangs", 64)):
        file = lab.new_folder(f"refusing-{lab.next_number()}") / "refuses"
        with lab.worker(refuses=file) as bench:
            commit_times(bench, 1.0)
            alone = commit_times(bench, seconds)
            _stop_agents(bench, file, what, count)
            beside = commit_times(bench, seconds)
            name = f"commit p95 beside {count} agents whose store {what}"
            yield Figure(f"{name} / alone", p95(beside) / p95(alone), "x", at_most(2), _parts(alone, beside))
            if what == "refuses":
                took_s = _hand_over_s(lab, bench)
                yield Figure(f"hand-over beside {count} such agents", took_s, "s", at_most(LEASE_S + 2))


def _stop_agents(bench: Bench, file: Path, what: str, count: int) -> None:
    """Have so many agents ask for what their store does not do."""
    file.write_text(f"{what} {ORG}/{REFUSED}\n")
    for number in range(count):
        repo = bench.repos.repo(org_id=ORG, agent_id=f"{REFUSED}-{number}")
        repo.commit({"a.md": "x"}, "m", create_repo_if_missing=True).pending.look_at()


def _hand_over_s(lab: Lab, bench: Bench) -> float:
    """Start a second worker; return how long it is there until it owns half of the shards."""
    with lab.second_worker(bench):
        return wait_until_shared(bench)


def _parts(alone: list[float], beside: list[float]) -> dict[str, float]:
    return {
        "alone p50 ms": p50(alone) * 1e3,
        "alone p95 ms": p95(alone) * 1e3,
        "beside p50 ms": p50(beside) * 1e3,
        "beside p95 ms": p95(beside) * 1e3,
        "beside max ms": max(beside) * 1e3,
    }
