"""What numbers cost: many warm repositories, and a worker with nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from benchmarks.figures import Figure, at_most
from benchmarks.lab import Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts

REPOS_BEFORE, REPOS = 20, 100
IDLE_S = 10.0
MIB = 1 << 20


def footprint(lab: Lab) -> Iterator[Figure]:
    """Measure the memory that 100 more warm repositories take, and the CPU of owning all shards in silence."""
    with lab.worker() as bench:
        worker = psutil.Process(bench.pid)
        _warm(bench, "first", REPOS_BEFORE)
        before = _memory_mib(worker)
        _warm(bench, "more", REPOS)
        grown = {name: (mib - before[name]) / REPOS for name, mib in _memory_mib(worker).items()}
        idle = _cpu_share(worker, IDLE_S)
    yield Figure("memory per warm repository of 200 files", grown["rss"], "MiB", at_most(0.5), grown)
    yield Figure("idle CPU of a worker that owns 64 shards", idle * 100, "%", at_most(1))


def _warm(bench: Bench, name: str, number: int) -> None:
    """Make repositories of 200 files; commit to each, and read it."""
    files = Texts().files(200)
    for index in range(number):
        repo = bench.repo(f"{name}-{index}")
        repo.create_repo(files).result(TIMEOUT_S)
        repo.commit({"human.md": "likes tea\n"}, "Learn").result(TIMEOUT_S)
        repo.get_files().result(TIMEOUT_S)


def _memory_mib(process: psutil.Process) -> dict[str, float]:
    """Return its resident memory; ``uss`` leaves out pages that are shared with others."""
    found = process.memory_full_info()
    return {"rss": found.rss / MIB, "uss": found.uss / MIB}


def _cpu_share(process: psutil.Process, seconds: float) -> float:
    """Return the share of one core that a process takes."""
    time.sleep(1)  # until what the last request left to do is done
    before = process.cpu_times()
    time.sleep(seconds)
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) / seconds
