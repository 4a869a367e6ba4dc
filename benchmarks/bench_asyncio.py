"""The asyncio client against the synchronous one, and how long it ever holds up the event loop."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from benchmarks.bare_loop import TICK_S
from benchmarks.figures import Figure, at_most, p95, ratio
from benchmarks.lab import ORG, ROOT, Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import WARM_UP, startup_left_to_rest, timed, timed_async
from memrepo import AsyncMemoryRepos

READS = 200
JOBS, AGENTS = 1000, 100


def asyncio_client(lab: Lab) -> Iterator[Figure]:
    """Measure the smallest read through both clients in turns, then the loop with 1,000 commits under way."""
    with lab.worker() as bench:
        bench.repo("warm").create_repo(Texts().files(20)).result(TIMEOUT_S)
        yield from asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> Iterator[Figure]:
    async with bench.asynchronous() as repos:
        ours, theirs = await _in_turns(bench, repos)
        await _lateness(repos)  # the agents begin
        with startup_left_to_rest():
            async with _bare_loop() as bare_late:
                late, burst_s = await _lateness(repos)
    name = "async / sync, enqueue to result, p50"
    parts = {
        "p95 ms": p95(late) * 1e3,
        "longest run of the loop's thread, CPU ms": burst_s * 1e3,
        "longest stall of a bare loop in another process meanwhile, ms": bare_late[0] * 1e3,
    }
    return iter(
        (
            ratio(name, ours, theirs, at_most(1.15), of=("async", "sync")),
            Figure("longest loop stall, 1,000 jobs under way", max(late) * 1e3, "ms", at_most(10), parts),
        )
    )


async def _in_turns(bench: Bench, repos: AsyncMemoryRepos) -> tuple[list[float], list[float]]:
    """Return the seconds of reads by both clients."""
    with_await, blocking = repos.repo(org_id=ORG, agent_id="warm"), bench.repo("warm")

    async def read() -> None:
        await with_await.get_head_sha()

    ours, theirs = [], []
    for _ in range(WARM_UP + READS):
        ours.append(await timed_async(read))
        theirs.append(timed(lambda: blocking.get_head_sha().result(TIMEOUT_S)))
    return ours[WARM_UP:], theirs[WARM_UP:]


@asynccontextmanager
async def _bare_loop() -> AsyncIterator[list[float]]:
    """Run a loop that does nothing beside; its longest delay in seconds is in the list once the block has ended."""
    found: list[float] = []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bare_loop", stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        await process.stdout.readline()
        yield found
    finally:
        said, _ = await process.communicate(b"")  # ends its standard input
    found.append(float(said))


async def _lateness(repos: AsyncMemoryRepos) -> tuple[list[float], float]:
    """Send 1,000 commits and await them; return how late a timer was each time, and the loop's longest run.

    A timer is also late when the machine has no core to spare; a run, in CPU seconds, is what the loop's own thread did
    from one tick to the next.
    """
    changes = Texts().prepared(JOBS, 3)
    late: list[float] = []
    runs: list[float] = []

    async def tick() -> None:
        while True:
            start, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            late.append(time.perf_counter() - start - TICK_S)
            runs.append(time.thread_time() - cpu)

    async def commit(number: int) -> None:
        repo = repos.repo(org_id=ORG, agent_id=f"agent-{number % AGENTS}")
        await repo.commit(next(changes), "Learn", create_repo_if_missing=True)

    ticking = asyncio.create_task(tick())
    commits = []
    for number in range(JOBS):
        commits.append(asyncio.create_task(commit(number)))
        await asyncio.sleep(0)  # others have their turn, as in a server
    await asyncio.gather(*commits)
    ticking.cancel()
    return late, max(runs)
