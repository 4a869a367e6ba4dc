"""What age and numbers cost: an old repository, many warm ones, and a worker with nothing to do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import psutil

from benchmarks.figures import Figure, at_most, p50
from benchmarks.lab import ORG, SOURCES, Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts, path
from benchmarks.timing import WARM_UP, in_turns_of_all
from memrepo.repo import MemoryRepo
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

AGES, AGE_LONG = (10, 100, 1_000), 10_000
TURNS = 60
FILES = 200
UNDER_WAY = 500

REPOS_BEFORE, REPOS = 20, 100
IDLE_S = 10.0
MIB = 1 << 20


def age(lab: Lab) -> Iterator[Figure]:
    """Measure what a memory of each age answers in, all ages in turns; each commit is an entry of its own.

    The histories are made by the worker that is measured, request by request: two changed files of 200.
    """
    ages = (*AGES, *((AGE_LONG,) if lab.long else ()))
    with lab.worker(group_requests_max=1) as bench:
        asyncio.run(_grow(bench, ages))
        repos = {number: bench.repo(f"age-{number}") for number in ages}
        times = {name: _of_all(repos, work) for name, work in _works(ages).items()}
        parts = {number: _cold(lab, bench, number) for number in ages}
    for name, of_ages in times.items():
        shown = {f"at {number:,} ms": p50(of_ages[number]) * 1e3 for number in ages}
        bound = None if name == "diff" else at_most(1.2)
        value = p50(of_ages[ages[-1]]) / p50(of_ages[ages[0]])
        yield Figure(f"{name} p50 at {ages[-1]:,} commits of age / at {ages[0]}", value, "x", bound, shown)
    for number in ages:
        seconds = parts[number].pop("cold open s")
        yield Figure(f"cold open at {number:,} commits, nothing folded", seconds, "s", None, parts[number])


def _works(ages: Sequence[int]) -> Mapping[str, Callable[[MemoryRepo], object]]:
    """Return what is measured, by name."""
    changes = Texts().prepared(len(ages) * (WARM_UP + TURNS), 3, 100)
    return {
        "commit": lambda repo: repo.commit(next(changes), "Learn").result(TIMEOUT_S),
        "read": lambda repo: repo.get_files().result(TIMEOUT_S),
        "path history": lambda repo: repo.get_history(path=path(3), limit=10).result(TIMEOUT_S),
        "diff": lambda repo: repo.diff("HEAD~1", "HEAD").result(TIMEOUT_S),
    }


def _of_all(
    repos: Mapping[int, MemoryRepo], work: Callable[[MemoryRepo], object]
) -> Mapping[int, list[float]]:
    works = [partial(work, repo) for repo in repos.values()]
    return dict(zip(repos, in_turns_of_all(TURNS, works), strict=True))


def _cold(lab: Lab, bench: Bench, number: int) -> dict[str, float]:
    """Open a memory cold, in a process that has nothing of it, and return what that takes and what there is of it."""
    store_url = json.loads(bench.job)["settings"]["store_url"]
    cache_dir = str(lab.new_folder(f"cold-{number}"))
    job = json.dumps({"store_url": store_url, "cache_dir": cache_dir, "org": ORG, "agent": f"age-{number}"})
    env = {"PATH": environment()["PATH"], "PYTHONPATH": SOURCES, **lab.seaweedfs.environment}
    command = [sys.executable, "-m", "benchmarks.cold_open", job]
    said = Processes(Counters()).run(command, env=env, timeout_s=600)
    return dict(json.loads(said))


async def _grow(bench: Bench, ages: Sequence[int]) -> None:
    """Make memories with that many commits."""
    texts = Texts()
    async with bench.asynchronous() as repos:
        for commits in ages:
            repo = repos.repo(org_id=ORG, agent_id=f"age-{commits}")
            await repo.create_repo(texts.files(FILES))
            for first in range(1, commits, UNDER_WAY):
                numbers = range(first, min(first + UNDER_WAY, commits))
                jobs = [
                    repo.commit(texts.changes(number % FILES, (number * 7 + 1) % FILES), f"Learn {number}")
                    for number in numbers
                ]
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
