"""Commits on warm repositories against bare puts: one after the other, and of 200 agents at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from benchmarks.figures import Figure, at_least, at_most, ratio
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.plain import BARE, TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import WARM_UP, in_turns, startup_left_to_rest, timed_async
from memrepo.repo import MemoryRepo
from memrepo_worker.store.open import open_store

COMMITS = 150
AGENTS = 200
COMMITS_EACH = 2
ROUNDS = 3


def commit(lab: Lab) -> Iterator[Figure]:
    """Measure warm commits of two files of 2 kB in a repository of 200, in turns with bare puts of equal size."""
    texts = Texts()
    with lab.worker() as bench:
        repo = bench.repo("warm")
        repo.create_repo(texts.files(200)).result(TIMEOUT_S)
        size = _entry_bytes(bench, repo, texts)

        changes = texts.prepared(WARM_UP + COMMITS, 31, 120)

        def commit_two_files() -> None:
            repo.commit(next(changes), "Learn").result(TIMEOUT_S)

        before, there = bench.counters(), _objects(lab, bench)
        ours, bare = in_turns(COMMITS, commit_two_files, lambda: bench.plain.call(BARE, size=size))
        spent, made = bench.counters() - before, _objects(lab, bench) - there
    yield ratio("warm commit p50 / bare task p50", ours, bare, at_most(1.25), of=("commit", "bare"))
    yield Figure(
        "objects in the store per commit",
        made / (WARM_UP + COMMITS),
        bound=at_most(1.1),
        parts={
            "bytes per object": size,
            "puts per commit": spent["store.put.requests"] / (WARM_UP + COMMITS),
            "processes started": spent["process.started"],
        },
    )


def _objects(lab: Lab, bench: Bench) -> int:
    """Return how many objects there are of the memory that is committed to: what its owner has joined, too."""
    with pytest.MonkeyPatch.context() as env:  # where the SDK looks for credentials
        for name, value in lab.seaweedfs.environment.items():
            env.setenv(name, value)
        store = open_store(json.loads(bench.job)["settings"]["store_url"])
        return sum(1 for _ in store.list(f"{ORG}/warm/"))


def throughput(lab: Lab) -> Iterator[Figure]:
    """Measure commits of 200 agents, all under way at once, in turns with as many bare puts of equal size."""
    with lab.worker() as bench:
        taken = asyncio.run(_throughput(bench))
    commits = ROUNDS * AGENTS * COMMITS_EACH
    ours, bare, silent = (sum(taken[name]) for name in ("ours", "bare", "silent"))
    rates = {
        "commits/s": commits / ours,
        "bare tasks/s": commits / bare,
        "without events/s": commits / silent,
    }
    name = "commits/s over 200 agents / bare tasks/s"
    yield Figure(name, bare / ours, "x", at_least(1.25), {**rates, **taken["parts"]})
    yield Figure("worker CPU per commit, 200 agents", taken["cpu_s"] / commits * 1e3, "ms", at_most(2.7))
    yield Figure("commits/s over 200 agents, events on / off", silent / ours, "x", at_least(0.9))


async def _throughput(bench: Bench) -> dict[str, Any]:
    texts = Texts()
    async with bench.asynchronous() as repos:
        agents = [repos.repo(org_id=ORG, agent_id=f"agent-{number}") for number in range(AGENTS)]
        await repos.wait([agent.create_repo(texts.files(20)) for agent in agents], timeout_s=TIMEOUT_S)
        size = await asyncio.to_thread(_entry_bytes, bench, bench.repo("agent-0"), texts)

        changes = texts.prepared(2 * ROUNDS * AGENTS * COMMITS_EACH, 3, 12)
        worker = psutil.Process(bench.pid)
        spent_s: list[float] = []

        async def commit_everywhere() -> None:
            before_s = cpu_s(worker)
            jobs = [agent.commit(next(changes), "Learn") for _ in range(COMMITS_EACH) for agent in agents]
            await repos.wait(jobs, timeout_s=TIMEOUT_S)
            spent_s.append(cpu_s(worker) - before_s)

        async def commit_in_silence() -> float:
            await asyncio.to_thread(bench.celery.control.disable_events, reply=True, limit=1, timeout=5)
            taken_s = await timed_async(commit_everywhere)
            await asyncio.to_thread(bench.celery.control.enable_events, reply=True, limit=1, timeout=5)
            return taken_s

        async def put_as_often() -> None:
            puts = bench.plain.send(BARE, [{"size": size}] * (AGENTS * COMMITS_EACH))
            await asyncio.gather(*map(asyncio.wrap_future, puts))

        before = bench.counters()
        with startup_left_to_rest():
            rounds = [
                (
                    await timed_async(commit_everywhere),
                    await timed_async(put_as_often),
                    await commit_in_silence(),
                )
                for _ in range(ROUNDS)
            ]
        puts = (bench.counters() - before)["store.put.requests"]
    ours, bare, silent = zip(*rounds, strict=True)
    parts = {"commits per put": 2 * ROUNDS * AGENTS * COMMITS_EACH / puts, "bytes per put": size}
    return {"ours": ours, "bare": bare, "silent": silent, "cpu_s": sum(spent_s[::2]), "parts": parts}


def cpu_s(process: psutil.Process) -> float:
    """Return how much CPU a process has used."""
    used = process.cpu_times()
    return float(used.user + used.system)


def _entry_bytes(bench: Bench, repo: MemoryRepo, texts: Texts) -> int:
    """Return how many bytes a commit of two files writes to the store."""
    before = bench.counters()
    for _ in range(WARM_UP):
        repo.commit(texts.changes(3, 12), "Learn").result(TIMEOUT_S)
    return (bench.counters() - before)["store.put.bytes"] // WARM_UP
