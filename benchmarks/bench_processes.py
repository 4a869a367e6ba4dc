"""What a second worker process adds, where each has a core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil
from redis import Redis

from benchmarks.bench_commit import AGENTS, COMMITS_EACH, cpu_s
from benchmarks.figures import Figure, at_least
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import timed_async
from memrepo.wire.keys import OWNERS_KEY, WORKERS_KEY
from memrepo_worker.queues.leases.leases import read_owners
from tests.support.waiting import wait_for

ROUNDS = 10


def processes(lab: Lab) -> Iterator[Figure]:
    """Measure commits of 200 agents, all under way at once, by one worker process, then by two."""
    with lab.worker() as bench:
        one = _commits(bench, [bench.pid])
        with lab.second_worker(bench) as second:
            wait_until_shared(bench)
            two = _commits(bench, [bench.pid, second.pid])
    parts = {
        f"{name}, {which}": value
        for which, measured in (("one", one), ("two", two))
        for name, value in measured.parts.items()
    }
    ratio = two.per_s / one.per_s
    yield Figure("commits/s over 200 agents, two processes / one", ratio, "x", at_least(1.3), parts)


@dataclass(frozen=True)
class _Measured:
    """How many commits a second there were, what each took of the workers, and how many cores were busy with all.

    Where the client and the servers keep all cores busy beside one worker, a second one has none to add.
    """

    per_s: float
    worker_cpu_s: float
    cores_busy: float

    @property
    def parts(self) -> dict[str, float]:
        return {
            "commits/s": self.per_s,
            "worker CPU ms per commit": self.worker_cpu_s * 1e3,
            "cores busy": self.cores_busy,
        }


def wait_until_shared(bench: Bench) -> float:
    """Wait until a second worker owns half of the shards; return how long it was there until then."""
    url, shards = bench.settings.broker_url, bench.settings.shards
    with Redis.from_url(url) as broker:
        wait_for(lambda: broker.zcard(WORKERS_KEY) == 2, "the second worker to be there")
        start_s = time.perf_counter()

        def is_shared() -> bool:
            owners = [worker for _, worker in read_owners(broker.hgetall(OWNERS_KEY)).values()]
            return len(owners) == shards and max(map(owners.count, set(owners))) <= (shards + 1) // 2

        wait_for(is_shared, "an even share", 60)
        return time.perf_counter() - start_s


def _commits(bench: Bench, pids: Sequence[int]) -> _Measured:
    """Measure commits by workers that are these processes."""
    return asyncio.run(_measured(bench, [psutil.Process(pid) for pid in pids]))


async def _measured(bench: Bench, workers: Sequence[psutil.Process]) -> _Measured:
    texts = Texts()
    async with bench.asynchronous() as repos:
        agents = [repos.repo(org_id=ORG, agent_id=f"agent-{number}") for number in range(AGENTS)]
        changes = texts.prepared((1 + ROUNDS) * AGENTS * COMMITS_EACH, 3, 12)

        async def commit_everywhere() -> None:
            jobs = [
                agent.commit(next(changes), "Learn", create_repo_if_missing=True)
                for _ in range(COMMITS_EACH)
                for agent in agents
            ]
            await repos.wait(jobs, timeout_s=TIMEOUT_S)

        await commit_everywhere()  # so that every memory is warm where it is served
        before_s, busy_before_s = sum(map(cpu_s, workers)), _busy_s()
        taken_s = sum([await timed_async(commit_everywhere) for _ in range(ROUNDS)])
        spent_s, busy_s = sum(map(cpu_s, workers)) - before_s, _busy_s() - busy_before_s
    commits = ROUNDS * AGENTS * COMMITS_EACH
    return _Measured(commits / taken_s, spent_s / commits, busy_s / taken_s)


def _busy_s() -> float:
    """Return how long all cores of this machine were busy until now, each for itself."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
