"""Two cells against one: commits and reads of 200 agents, and what each costs worker, client and Redis."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil
from celery import Celery

from benchmarks.bench_commit import cpu_s
from benchmarks.figures import Figure
from benchmarks.lab import ORG, Lab
from benchmarks.texts import Texts
from benchmarks.timing import timed_async
from memrepo import AsyncMemoryRepos, Settings
from tests.support.valkey import Valkey, valkey
from tests.support.warm import Running

AGENTS = 200
ROUNDS = 5
TIMEOUT_S = 120.0
FILES = 20
CACHED = 20
"""How many of the memories are warm where cold opens are measured."""


@dataclass
class _Cells:
    """Some cells, each a Redis and a worker, and what a client of theirs takes."""

    listed: str
    servers: Sequence[Valkey]
    workers: Sequence[Running]
    taken: dict[str, list[float]] = field(default_factory=dict)

    def spent(self) -> dict[str, float]:
        """Return what has been spent until now: CPU in ms, commands, bytes."""
        stats = [server.client().info("stats") for server in self.servers]
        counted = self._counters()
        redis_cpu = [server.client().info("cpu") for server in self.servers]
        return {
            "worker CPU ms": sum(cpu_s(psutil.Process(worker.pid)) for worker in self.workers) * 1e3,
            "client CPU ms": cpu_s(psutil.Process()) * 1e3,
            "Redis CPU ms": sum(each["used_cpu_user"] + each["used_cpu_sys"] for each in redis_cpu) * 1e3,
            "Redis commands": sum(each["total_commands_processed"] for each in stats),
            "Redis bytes in": sum(each["total_net_input_bytes"] for each in stats),
            "Redis bytes out": sum(each["total_net_output_bytes"] for each in stats),
            "store requests": sum(
                count for name, count in counted.items() if re.fullmatch(r"store\..*\.requests", name)
            ),
            "bytes put": counted["store.put.bytes"],
            "cold opens": counted["repo.opened_cold"],
        }

    def _counters(self) -> Counter[str]:
        """Return what the workers have counted."""
        total: Counter[str] = Counter()
        for server in self.servers:
            with Celery(broker=server.url, set_as_current=False) as celery:
                replies = celery.control.broadcast("memrepo_counters", reply=True, timeout=10, limit=1)
            total.update(Counter(next(iter(replies[0].values()))))
        return total


def cells(lab: Lab) -> Iterator[Figure]:
    """Measure one cell and two in turns, in one run: all on this machine, client too; then reads that open cold."""
    with ExitStack() as stack:
        one, two = (_begin(lab, stack, names) for names in (["a"], ["b", "c"]))
        spent = asyncio.run(_measure(one, two))
        cold = asyncio.run(_measure_cold(_begin(lab, stack, ["d"], cache_repos_max=CACHED)))
    for what in ("commits", "reads"):
        rates = [ROUNDS * AGENTS / sum(each.taken[what]) for each in (one, two)]
        parts = {f"{what}/s of one": rates[0], f"{what}/s of two": rates[1], **spent[what]}
        yield Figure(f"{what}/s over 200 agents, 2 cells / 1", rates[1] / rates[0], "x", None, parts)
    opens = cold["cold opens each"]
    extra_ms = (cold["worker CPU ms each"] - spent["reads"]["worker CPU ms each"]) / opens
    yield Figure("worker CPU of a cold open", extra_ms, "ms", None, {"cold opens per read": opens})


def _begin(lab: Lab, stack: ExitStack, names: Sequence[str], **settings: object) -> _Cells:
    servers = {name: stack.enter_context(valkey(lab.new_folder(f"valkey-{name}"))) for name in names}
    listed = " ".join(f"{name}={server.url}" for name, server in servers.items())
    store_url = lab.seaweedfs.store_url(f"cells-{'-'.join(names)}")
    common = {"store_url": store_url, "cells": listed, "tip_proof_s": 30.0, **settings}
    workers = [_worker(lab, stack, common, name, server) for name, server in servers.items()]
    return _Cells(listed, list(servers.values()), workers)


def _worker(lab: Lab, stack: ExitStack, common: Mapping[str, object], name: str, server: Valkey) -> Running:
    folder = lab.new_folder(f"worker-{name}")
    own = {"broker_url": server.url, "result_url": server.url, "cell": name}
    values = {**common, **own, "cache_dir": str(folder / "cache")}
    job = json.dumps({"settings": values, "delay_s": 0.0, "refuses": "", "jobs": ""})
    client = server.client()
    stack.callback(client.close)
    return stack.enter_context(
        lab.process(
            "benchmarks.worker", job, folder=folder, ready=lambda: int(client.hlen("memrepo:owners")) == 64
        )
    )


async def _measure(*some: _Cells) -> dict[str, Mapping[str, float]]:
    """Have all commit and read in turns; return what one of each costs in the first."""
    texts = Texts()
    spent: dict[str, Mapping[str, float]] = {}

    async def commit(repos: AsyncMemoryRepos, number: int) -> None:
        await repos.repo(org_id=ORG, agent_id=f"agent-{number}").commit(texts.changes(3, 12), "Learn")

    async def read(repos: AsyncMemoryRepos, number: int) -> None:
        await repos.repo(org_id=ORG, agent_id=f"agent-{number}").get_files()

    async with (
        AsyncMemoryRepos(settings=Settings(cells=some[0].listed)) as first,
        AsyncMemoryRepos(settings=Settings(cells=some[1].listed)) as second,
    ):
        clients = list(zip(some, (first, second), strict=True))
        for _, repos in clients:
            agents = [repos.repo(org_id=ORG, agent_id=f"agent-{number}") for number in range(AGENTS)]
            await repos.wait([one.create_repo(texts.files(FILES)) for one in agents], timeout_s=TIMEOUT_S)
        for what, step in (("commits", commit), ("reads", read)):
            spent[what] = await _in_turns(clients, what, step)
    return spent


async def _measure_cold(cells: _Cells) -> Mapping[str, float]:
    """Return what a read costs where the cache holds hardly any of the memories."""
    texts = Texts()
    async with AsyncMemoryRepos(settings=Settings(cells=cells.listed)) as repos:
        agents = [repos.repo(org_id=ORG, agent_id=f"agent-{number}") for number in range(AGENTS)]
        await repos.wait([one.create_repo(texts.files(FILES)) for one in agents], timeout_s=TIMEOUT_S)
        await repos.wait([one.get_files() for one in agents], timeout_s=TIMEOUT_S)
        before = cells.spent()
        await repos.wait([one.get_files() for one in agents], timeout_s=TIMEOUT_S)
        return {f"{name} each": (value - before[name]) / AGENTS for name, value in cells.spent().items()}


async def _in_turns(
    clients: Sequence[tuple[_Cells, AsyncMemoryRepos]],
    what: str,
    step: Callable[[AsyncMemoryRepos, int], Awaitable[None]],
) -> Mapping[str, float]:
    """Measure rounds of one after the other, the first uncounted; return what a step costs of the first's cells."""
    total: dict[str, float] = {}
    for turn in range(ROUNDS + 1):
        for cells, repos in clients:
            before = cells.spent()

            async def everywhere(repos: AsyncMemoryRepos = repos) -> None:
                await asyncio.gather(*(step(repos, number) for number in range(AGENTS)))

            took_s = await timed_async(everywhere)
            if turn == 0:
                continue  # connections, and code that is loaded at its first use
            cells.taken.setdefault(what, []).append(took_s)
            if cells is clients[0][0]:
                for name, value in cells.spent().items():
                    total[name] = total.get(name, 0.0) + value - before[name]
    return {f"{name} each": value / (ROUNDS * AGENTS) for name, value in total.items()}
