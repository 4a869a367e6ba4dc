"""How long commits of healthy agents take, on their own and beside others: the same agents at the same pace."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import psutil

from benchmarks.lab import ORG, Bench
from benchmarks.texts import Texts
from memrepo import AsyncMemoryRepos, MemoryRepo, Settings

AGENTS = 50
PAUSE_S = (0.5, 1.5)
"""Between two commits of one agent, at least and at most: people and models think. With pauses of one length, agents
that have once waited for the same thing come at the same moment from then on, and wait for each other."""
COMMIT_TIMEOUT_S = 120.0


Span = tuple[float, float]
"""When something began and ended, in seconds of the wall clock, which processes share."""


def commit_times(bench: Bench, seconds: float) -> list[float]:
    """Have 50 agents commit for so long; return how long each commit took, also of those that ended later."""
    until_s = time.monotonic() + seconds
    return [end - begin for begin, end in commit_spans(bench, lambda: time.monotonic() < until_s)]


def commit_spans(bench: Bench, goes_on: Callable[[], bool]) -> list[Span]:
    """Have 50 agents commit while it goes on; return from when to when each commit was under way."""
    return asyncio.run(_commit_spans(bench.settings.broker_url, goes_on))


async def _commit_spans(broker_url: str, goes_on: Callable[[], bool]) -> list[Span]:
    texts, spans, random = Texts(), list[Span](), Random(1)
    changes = [texts.changes(number % 5) for number in range(AGENTS)]

    async def agent(repo: MemoryRepo, number: int) -> None:
        await asyncio.sleep(number / AGENTS)
        while goes_on():
            changes[number]["turn.md"] = str(time.monotonic())
            began_s, start_s = time.time(), time.perf_counter()
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await repo.commit(changes[number], "Learn", create_repo_if_missing=True)
            spans.append((began_s, began_s + time.perf_counter() - start_s))
            await asyncio.sleep(random.uniform(*PAUSE_S))

    settings = Settings(broker_url, broker_url, enqueue_timeout_s=60.0)
    async with AsyncMemoryRepos(settings=settings) as repos:
        healthy = [repos.repo(org_id=ORG, agent_id=f"healthy-{number}") for number in range(AGENTS)]
        await asyncio.gather(*(agent(repo, number) for number, repo in enumerate(healthy)))
    return spans


class Peak:
    """The most memory that a worker and the processes below it held at once."""

    def __init__(self) -> None:
        self.bytes = 0


@contextmanager
def memory_peak(pid: int, every_s: float = 0.05) -> Iterator[Peak]:
    """Look at a worker's memory until the block ends; its own highest mark counts, too."""
    peak, over = Peak(), threading.Event()
    worker = psutil.Process(pid)

    def look() -> None:
        while not over.wait(every_s):
            held = 0
            for process in (worker, *worker.children(recursive=True)):
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak.bytes = max(peak.bytes, held)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
