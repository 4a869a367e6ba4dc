"""What age and numbers cost: an old repository, many warm ones, and a worker with nothing to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping

import psutil

from benchmarks.figures import Figure, at_most, ratio
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import WARM_UP, in_turns
from memrepo.repo import MemoryRepo

YOUNG, OLD, OLD_LONG = 10, 2_000, 10_000
TURNS = 60
FILES = 20
UNDER_WAY = 500

REPOS_BEFORE, REPOS = 20, 100
IDLE_S = 10.0
MIB = 1 << 20


def age(lab: Lab) -> Iterator[Figure]:
    """Measure commits and reads of an old repository in turns with those of a young one; each commit is an entry."""
    old = OLD_LONG if lab.long else OLD
    changes = Texts().prepared(2 * (WARM_UP + TURNS), 3)
    with lab.worker(group_requests_max=1) as bench:
        asyncio.run(_grow(bench, {"young": YOUNG, "old": old}))
        young_repo, old_repo = bench.repo("young"), bench.repo("old")

        def commit(repo: MemoryRepo) -> None:
            repo.commit(next(changes), "Learn").result(TIMEOUT_S)

        def read(repo: MemoryRepo) -> None:
            repo.get_files().result(TIMEOUT_S)

        commits = in_turns(TURNS, lambda: commit(old_repo), lambda: commit(young_repo))
        reads = in_turns(TURNS, lambda: read(old_repo), lambda: read(young_repo))
    ages = (f"at {old:,}", f"at {YOUNG}")
    yield ratio(f"commit p50 at {old:,} commits of age / at {YOUNG}", *commits, at_most(1.2), of=ages)
    yield ratio(f"read p50 at {old:,} commits of age / at {YOUNG}", *reads, at_most(1.2), of=ages)


async def _grow(bench: Bench, ages: Mapping[str, int]) -> None:
    """Make repositories with that many commits."""
    texts = Texts()
    async with bench.asynchronous() as repos:
        for name, commits in ages.items():
            repo = repos.repo(org_id=ORG, agent_id=name)
            await repo.create_repo(texts.files(FILES))
            for first in range(1, commits, UNDER_WAY):
                numbers = range(first, min(first + UNDER_WAY, commits))
                jobs = [repo.commit(texts.changes(number % FILES), f"Learn {number}") for number in numbers]
                await repos.wait(jobs, timeout_s=TIMEOUT_S)


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
