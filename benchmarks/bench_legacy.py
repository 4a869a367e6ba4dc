"""A Letta server's way of a commit against ours, on the same server 30 ms away, at growing age."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.far import further_away
from benchmarks.figures import Figure, at_least, p50
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.legacy_way import legacy_way
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import timed, timed_async

ROUND_TRIP_S = 0.030
BOUNDS = {1: at_least(8), 50: None}
BOUNDS_LONG = {**BOUNDS, 200: at_least(75), 1000: at_least(300)}
COMMITS_OF_OURS, COMMITS_OF_SEED = 20, 4
FILES = 8
SUSTAINED_AGE, SUSTAINED = 200, 1000


def legacy(lab: Lab) -> Iterator[Figure]:
    """Measure commits of one file in a repository of eight, both ways."""
    with (
        further_away(lab, lab.seaweedfs.endpoint_url, ROUND_TRIP_S) as far,
        lab.worker(endpoint_url=far) as bench,
    ):
        for age, bound in (BOUNDS_LONG if lab.long else BOUNDS).items():
            theirs, requests = _legacy(lab, far, age)
            ours = _ours(bench, age)
            parts = {"Letta server p50 ms": theirs * 1e3, "ours p50 ms": ours * 1e3, "its requests": requests}
            yield Figure(
                f"commit p50 at age {age:,}: a Letta server's way / ours", theirs / ours, "x", bound, parts
            )
            if age == SUSTAINED_AGE:
                yield _sustained(bench, theirs)


def _legacy(lab: Lab, far: str, age: int) -> tuple[float, float]:
    """Return the other way's p50 in seconds, and its requests to the store per commit."""
    prefix, texts = f"legacy-{age}/agent", Texts()
    with legacy_way(lab.seaweedfs.endpoint_url, prefix) as near:
        near.create(texts.files(FILES), [texts.changes(3) for _ in range(age - 1)])
    with legacy_way(far, prefix) as way:
        way.commit(texts.changes(3))  # connects
        way.requests = 0
        changes = texts.prepared(COMMITS_OF_SEED, 3)
        times = [timed(lambda: way.commit(next(changes))) for _ in range(COMMITS_OF_SEED)]
        return p50(times), way.requests / COMMITS_OF_SEED


def _ours(bench: Bench, age: int) -> float:
    """Return our p50 in seconds."""
    texts, repo = Texts(), bench.repo(f"age-{age}")
    repo.create_repo(texts.files(FILES)).result(TIMEOUT_S)
    bench.repos.wait([repo.commit(texts.changes(3), "Learn") for _ in range(age - 1)], timeout_s=TIMEOUT_S)
    changes = texts.prepared(COMMITS_OF_OURS, 3)
    return p50(
        [timed(lambda: repo.commit(next(changes), "Learn").result(TIMEOUT_S)) for _ in range(COMMITS_OF_OURS)]
    )


def _sustained(bench: Bench, seed_s: float) -> Figure:
    rate = SUSTAINED / asyncio.run(_commit_often(bench))
    name = f"commits/s on one agent at age {SUSTAINED_AGE}: ours / a Letta server's way"
    parts = {"ours commits/s": rate, "Letta server's commits/s": 1 / seed_s}
    return Figure(name, rate * seed_s, "x", at_least(500), parts)


async def _commit_often(bench: Bench) -> float:
    """Return the seconds that 1,000 commits of one agent take."""
    changes = Texts().prepared(SUSTAINED, 3)
    async with bench.asynchronous() as repos:
        repo = repos.repo(org_id=ORG, agent_id=f"age-{SUSTAINED_AGE}")
        await repo.get_head_sha()

        async def commit_often() -> None:
            jobs = [repo.commit(change, "Learn") for change in changes]
            await repos.wait(jobs, timeout_s=TIMEOUT_S)

        return await timed_async(commit_often)
