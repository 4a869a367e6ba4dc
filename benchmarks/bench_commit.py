"""Commits on warm repositories against bare puts: one after the other, and of 200 agents at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.figures import Figure, at_least, at_most, ratio
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.plain import BARE, TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import WARM_UP, in_turns, in_turns_async
from memrepo.repo import MemoryRepo

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

        before = bench.counters()
        ours, bare = in_turns(COMMITS, commit_two_files, lambda: bench.plain.call(BARE, size=size))
        spent = bench.counters() - before
    yield ratio("warm commit p50 / bare task p50", ours, bare, at_most(1.25), of=("commit", "bare"))
    yield Figure(
        "objects in the store per commit",
        spent["store.put.requests"] / (WARM_UP + COMMITS),
        bound=at_most(1.1),
        parts={"bytes per object": size, "processes started": spent["process.started"]},
    )


def throughput(lab: Lab) -> Iterator[Figure]:
    """Measure commits of 200 agents, all under way at once, in turns with as many bare puts of equal size."""
    with lab.worker() as bench:
        ours, bare, parts = asyncio.run(_throughput(bench))
    commits = ROUNDS * AGENTS * COMMITS_EACH
    rates = {"commits/s": commits / sum(ours), "bare tasks/s": commits / sum(bare)}
    name = "commits/s over 200 agents / bare tasks/s"
    yield Figure(name, sum(bare) / sum(ours), "x", at_least(0.8), {**rates, **parts})


async def _throughput(bench: Bench) -> tuple[list[float], list[float], dict[str, float]]:
    texts = Texts()
    async with bench.asynchronous() as repos:
        agents = [repos.repo(org_id=ORG, agent_id=f"agent-{number}") for number in range(AGENTS)]
        await repos.wait([agent.create_repo(texts.files(20)) for agent in agents], timeout_s=TIMEOUT_S)
        size = await asyncio.to_thread(_entry_bytes, bench, bench.repo("agent-0"), texts)

        changes = texts.prepared(ROUNDS * AGENTS * COMMITS_EACH, 3, 12)

        async def commit_everywhere() -> None:
            jobs = [agent.commit(next(changes), "Learn") for _ in range(COMMITS_EACH) for agent in agents]
            await repos.wait(jobs, timeout_s=TIMEOUT_S)

        async def put_as_often() -> None:
            puts = bench.plain.send(BARE, [{"size": size}] * (AGENTS * COMMITS_EACH))
            await asyncio.gather(*map(asyncio.wrap_future, puts))

        before = bench.counters()
        ours, bare = await in_turns_async(ROUNDS, commit_everywhere, put_as_often)
        puts = (bench.counters() - before)["store.put.requests"]
    return ours, bare, {"commits per put": ROUNDS * AGENTS * COMMITS_EACH / puts, "bytes per put": size}


def _entry_bytes(bench: Bench, repo: MemoryRepo, texts: Texts) -> int:
    """Return how many bytes a commit of two files writes to the store."""
    before = bench.counters()
    for _ in range(WARM_UP):
        repo.commit(texts.changes(3, 12), "Learn").result(TIMEOUT_S)
    return (bench.counters() - before)["store.put.bytes"] // WARM_UP
