"""What many agents cost one worker whose cache holds a fifth of them, and what a very large one does to others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import psutil

from benchmarks.bench_age import await_upkeep
from benchmarks.figures import Figure, at_most, p50, p95
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.large_agent import COMMITS, COMMITS_LONG, FILES_EACH, TIMEOUT_S, growing, in_use
from benchmarks.neighbours import commit_spans, commit_times, memory_peak
from benchmarks.texts import Texts, path
from memrepo import AsyncMemoryRepos

AGENTS, AGENTS_LONG = 1_000, 10_000
WARM_SHARE = 5
FEW = 20
FILES, FILE_BYTES = 20, 500
UNDER_WAY = 100
COMMITS_SHARE = 10
POPULAR_SHARE, TO_POPULAR = 5, 0.8
ALONE_S, USED_S = 10.0, 20.0
MIB = 1 << 20

_Step = Callable[[AsyncMemoryRepos, int], Awaitable[None]]


def agents(lab: Lab) -> Iterator[Figure]:
    """Measure 10,000 agents of 20 files with a cache for 2,000 (a tenth of both in the short form), then a large one.

    All are made and read once, by chance; then 80 % of the reads are of a fifth of the agents. Every tenth is a commit.
    """
    if lab.part in "many":
        yield from _many(lab, AGENTS_LONG if lab.long else AGENTS)
    if lab.part in "large":
        yield from _large(lab, COMMITS_LONG if lab.long else COMMITS)


def _many(lab: Lab, number: int) -> Iterator[Figure]:
    warm = number // WARM_SHARE
    with lab.worker(cache_repos_max=warm) as bench:
        crowd = _Crowd(bench)
        asyncio.run(crowd.make(range(FEW)))
        few = crowd.look()
        asyncio.run(crowd.make(range(FEW, warm)))
        full = crowd.look()
        asyncio.run(crowd.make(range(warm, number)))
        start = crowd.look()
        asyncio.run(crowd.use(crowd.random.sample(range(number), number)))
        middle = crowd.look()
        before = bench.counters()
        asyncio.run(crowd.use(crowd.unevenly(number)))
        end, spent = crowd.look(), bench.counters() - before
    found = spent["cache.found_in_memory"] + spent["cache.found"]
    each = (full["MiB"] - few["MiB"]) / (warm - FEW)
    yield Figure("memory per warm repository of 20 files", each, "MiB", at_most(0.5))
    shown = {
        f"{what} {when}": looks[what]
        for when, looks in (("at the start", start), ("in the middle", middle), ("at the end", end))
        for what in looks
    }
    share = end["MiB"] / start["MiB"]
    yield Figure(f"memory of a worker of {number:,} agents, end / start", share, "x", at_most(1.2), shown)
    # At the start none was written to disk yet; later libgit2 keeps its bound of packs open.
    files = end["open files"] / middle["open files"]
    yield Figure("its open files, end / middle", files, "x", at_most(1.2))
    yield Figure("reads that gave something else than was written", crowd.wrong, "", at_most(0))
    rate = found / (found + spent["repo.opened_cold"])
    parts = {
        name: spent[name]
        for name in ("cache.found_in_memory", "cache.found", "repo.opened_cold", "cache.dropped")
    }
    yield Figure("hit rate, 80 % of the reads of a fifth", rate, "", None, parts)


@dataclass
class _Crowd:
    """Many agents, and what each was told to remember."""

    bench: Bench
    random: Random = field(default_factory=lambda: Random(7))
    texts: Texts = field(default_factory=Texts)
    wrong: int = 0
    _known: dict[int, dict[str, str]] = field(default_factory=dict)

    async def make(self, numbers: Sequence[int]) -> None:
        async def one(repos: AsyncMemoryRepos, number: int) -> None:
            self._known[number] = self.texts.files(FILES, FILE_BYTES)
            await repos.repo(org_id=ORG, agent_id=f"one-{number}").create_repo(self._known[number])
            await self._read(repos, number)

        await self._all(numbers, one)

    async def use(self, numbers: Sequence[int]) -> None:
        """Read these memories, and commit to every tenth; none twice at once."""

        async def one(repos: AsyncMemoryRepos, number: int) -> None:
            if self.random.randrange(COMMITS_SHARE) == 0:
                text = {"turn.md": str(self.random.random())}
                await repos.repo(org_id=ORG, agent_id=f"one-{number}").commit(text, "Learn")
                self._known[number] = {**self._known[number], **text}
            else:
                await self._read(repos, number)

        await self._all(numbers, one)

    def unevenly(self, number: int) -> list[int]:
        """Choose so many of so many, most of them from a fifth."""
        popular = number // POPULAR_SHARE
        return [
            self.random.randrange(popular)
            if self.random.random() < TO_POPULAR
            else self.random.randrange(popular, number)
            for _ in range(number)
        ]

    def look(self) -> dict[str, float]:
        """Return what the worker takes, once its upkeep is done."""
        await_upkeep(self.bench)
        worker = psutil.Process(self.bench.pid)
        counted = self.bench.counters()
        return {
            "MiB": worker.memory_info().rss / MIB,
            "open files": worker.num_fds(),
            "warm": counted["cache.repositories"],
            "MiB of disk": counted["cache.disk_bytes"] / MIB,
        }

    async def _read(self, repos: AsyncMemoryRepos, number: int) -> None:
        known = self._known[number]
        snapshot = await repos.repo(org_id=ORG, agent_id=f"one-{number}").get_files()
        self.wrong += {path: file.text for path, file in snapshot.items()} != known

    async def _all(self, numbers: Sequence[int], one: _Step) -> None:
        async with self.bench.asynchronous() as repos:
            lines = [asyncio.Lock() for _ in range(UNDER_WAY)]

            async def in_line(number: int) -> None:
                async with lines[number % UNDER_WAY]:
                    await one(repos, number)

            await asyncio.gather(*map(in_line, numbers))


def _large(lab: Lab, commits: int) -> Iterator[Figure]:
    with lab.worker() as bench, memory_peak(bench.pid) as peak:
        commit_times(bench, 1.0)  # warm
        alone = commit_times(bench, ALONE_S)
        with growing(lab, bench, commits) as grown:
            start_s = time.monotonic()
            spans = commit_spans(bench, lambda: grown() < commits)
            while_growing = [end - begin for begin, end in spans]
            grown_s = time.monotonic() - start_s
        bench.repo("large").get_file(path(commits * FILES_EACH - 1)).result(TIMEOUT_S)
        with in_use(lab, bench) as rounds:
            while_used = commit_times(bench, USED_S)
            done = rounds()
        peak_mib = peak.bytes / MIB
        cold = _cold(lab, bench)
    for what, beside in (("grows", while_growing), ("is used", while_used)):
        parts = {
            "alone p50 ms": p50(alone) * 1e3,
            "alone p95 ms": p95(alone) * 1e3,
            "beside p50 ms": p50(beside) * 1e3,
            "beside p95 ms": p95(beside) * 1e3,
            "beside max ms": max(beside) * 1e3,
            "commits beside": len(beside),
        }
        name = f"commit p95 while an agent of {commits * 20 / 1000:g} GB {what} / alone"
        yield Figure(name, p95(beside) / p95(alone), "x", at_most(3), parts)
    parts = {"growing it s": grown_s, "rounds of use": done, **cold}
    yield Figure("memory of the worker beside it", peak_mib, "MiB", at_most(1024), parts)


def _cold(lab: Lab, bench: Bench) -> Mapping[str, float]:
    store_url = json.loads(bench.job)["settings"]["store_url"]
    job = {
        "store_url": store_url,
        "cache_dir": str(lab.new_folder("cold")),
        "org": ORG,
        "agent": "large",
        "tries": 0,
    }
    return dict(json.loads(lab.run("benchmarks.cold_open", job, timeout_s=1200)))
