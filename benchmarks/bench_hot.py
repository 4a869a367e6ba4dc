"""One hot agent whose store is 50 ms away: what it gets through, and what others notice of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.figures import Figure, at_least, at_most, p50, p95
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.load import HOT, keeping_busy
from benchmarks.plain import NOTHING, TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import in_turns_async, startup_left_to_rest, timed
from memrepo.routing import shard_of

STORE_DELAY_S = 0.050
UNDER_WAY = 1500
ROUNDS = 2
COMMITS_OF_OTHERS = 60


def hot(lab: Lab) -> Iterator[Figure]:
    """Measure the hot agent's commits in turns with tasks that do nothing, then other agents beside it."""
    with lab.worker(delay_s=STORE_DELAY_S) as bench:
        yield from asyncio.run(_throughput(bench))
        yield from _neighbours(lab, bench)


async def _throughput(bench: Bench) -> Iterator[Figure]:
    texts = Texts()
    async with bench.asynchronous() as repos:
        repo = repos.repo(org_id=ORG, agent_id=HOT)
        await repo.create_repo(texts.files(20))
        changes = texts.prepared(ROUNDS * UNDER_WAY, 3)

        async def commit_often() -> None:
            jobs = [repo.commit(next(changes), "Learn") for _ in range(UNDER_WAY)]
            await repos.wait(jobs, timeout_s=TIMEOUT_S)

        async def do_nothing_often() -> None:
            await asyncio.gather(*map(asyncio.wrap_future, bench.plain.send(NOTHING, [{}] * UNDER_WAY)))

        before = bench.counters()
        with startup_left_to_rest():
            ours, nothing = await in_turns_async(ROUNDS, commit_often, do_nothing_often)
        puts = (bench.counters() - before)["store.put.requests"]
    commits = ROUNDS * UNDER_WAY
    rates = {"commits/s": commits / sum(ours), "no-op tasks/s": commits / sum(nothing)}
    name = "one hot agent: commits/s / no-op tasks/s"
    return iter(
        (
            Figure(name, sum(nothing) / sum(ours), "x", at_least(2), rates),
            Figure("one hot agent: commits per put", commits / puts, "", at_least(100)),
        )
    )


def _neighbours(lab: Lab, bench: Bench) -> Iterator[Figure]:
    shard = shard_of(ORG, HOT)
    names = [f"second-{number}" for number in range(1000)]
    near = next(name for name in names if shard_of(ORG, name) == shard)
    far = next(name for name in names if shard_of(ORG, name) != shard)
    alone = {name: _commits(bench, name) for name in (near, far)}
    with keeping_busy(lab, bench):
        beside = {name: _commits(bench, name) for name in (near, far)}
    for agent, where in ((near, "the same shard"), (far, "another shard")):
        name = f"an agent in {where}: p95 beside the hot agent / alone"
        parts = {
            f"{what} {when} ms": of(times[agent]) * 1e3
            for what, of in (("p50", p50), ("p95", p95))
            for when, times in (("alone", alone), ("beside", beside))
        }
        yield Figure(name, p95(beside[agent]) / p95(alone[agent]), "x", at_most(4), parts)


def _commits(bench: Bench, agent_id: str) -> list[float]:
    repo, changes = bench.repo(agent_id), Texts().prepared(1 + COMMITS_OF_OTHERS, 3)

    def commit() -> None:
        repo.commit(next(changes), "Learn", create_repo_if_missing=True).result(TIMEOUT_S)

    commit()
    return [timed(commit) for _ in range(COMMITS_OF_OTHERS)]
