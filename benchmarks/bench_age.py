"""What age costs: memories of 10 to 10,000 commits, and of 100,000, measured beside each other in one run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import psutil

from benchmarks.figures import Figure, at_most, p50
from benchmarks.growth import Amounts, Growth
from benchmarks.histories import Histories, make
from benchmarks.lab import ORG, Bench, Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.report import Machine
from benchmarks.texts import SELDOM_CHANGES, Texts, changed, path
from benchmarks.timing import WARM_UP, in_turns_of_all
from memrepo.repo import MemoryRepo
from memrepo_worker.bounds import SharingBounds
from tests.support.waiting import wait_for

AGES, AGE_LONG = (10, 100, 1_000), 10_000
AGES_OLD = (10, 100_000)
TURNS = 60
FILES = 200
OLD_AND_NEW = "path history (2 commits at age 10, 10 later)"
ALIKE = f"path history, the newest {SELDOM_CHANGES}, as many at each age"
UNDER_WAY = 500
BOUNDED = {"commit", "read", OLD_AND_NEW, ALIKE}
UPKEEP_WAIT_S = 600.0
MIB = 1 << 20


def age(lab: Lab) -> Iterator[Figure]:
    """Measure what a memory of each age answers in, all ages in turns; each commit is an entry of its own.

    The histories are made by the worker that is measured, request by request: two changed files of 200.
    """
    ages = (*AGES, *((AGE_LONG,) if lab.long else ()))
    with lab.worker(group_requests_max=1) as bench:
        memory = asyncio.run(_grow(bench, ages))
        yield from _measured(lab, bench, ages, {"MiB of the worker, after making it": memory}, "growth")


def old(lab: Lab) -> Iterator[Figure]:
    """Measure the same on a memory of 100,000 commits in a folder, made by the service without a queue: ``histories``.

    A worker opens it cold, as one that takes over. Making it takes about 20 minutes, so only with ``LONG=1``; with
    ``--histories`` it is kept, and what is measured is a copy.
    """
    if not lab.long:
        return
    made = lab.histories or lab.new_folder("made")
    start_s = time.monotonic()
    for number in AGES_OLD:
        make(lab, (made / "store").as_uri(), made / "cache", Histories([_agent(number)], number))
    yield Figure("making them", time.monotonic() - start_s, "s")
    store = lab.folder / "old"
    shutil.copytree(made / "store", store)
    with lab.worker(group_requests_max=1, store_url=store.as_uri()) as bench:
        yield from _measured(lab, bench, AGES_OLD, {}, "growth-old")


def _measured(
    lab: Lab, bench: Bench, ages: Sequence[int], known: Mapping[str, Amounts], name: str
) -> Iterator[Figure]:
    repos = {number: bench.repo(_agent(number)) for number in ages}
    for repo in repos.values():
        repo.get_files().result(TIMEOUT_S)
    await_upkeep(bench)
    load = os.getloadavg()[0]
    cold = {number: _cold(lab, bench, number) for number in ages}  # first, so that each is as old as it says
    # Who has just made an old memory was a heavy user, and would rest beside the others: that is not its age.
    time.sleep(SharingBounds.heavy_account_s_max / SharingBounds.heavy_share)
    times = {what: _of_all(repos, work) for what, work in _works(ages).items()}
    medians = {what: {number: p50(taken[number]) * 1e3 for number in ages} for what, taken in times.items()}
    others = {what: {number: cold[number][what] for number in ages} for what in cold[ages[0]]}
    growth = Growth(medians, {**others, **known})
    growth.write(lab.out, name, f"{Machine.this()}; load {load:.1f} when the measuring began")
    for what, amounts in medians.items():
        value = amounts[ages[-1]] / amounts[ages[0]]
        shown = {f"at {number:,} ms": amounts[number] for number in ages}
        bound = at_most(1.2) if what in BOUNDED else None
        yield Figure(f"{what} p50 at {ages[-1]:,} commits of age / at {ages[0]}", value, "x", bound, shown)
    for number in ages:
        parts = {what: amounts[number] for what, amounts in growth.others.items()}
        yield Figure(f"cold open at {number:,} commits", parts.pop("cold open, s"), "s", None, parts)
        rounds = parts["rounds of a cold open"]
        yield Figure(f"rounds of a cold open at {number:,} commits", rounds, "", at_most(3))


def _agent(commits: int) -> str:
    return f"age-{commits}"


def _works(ages: Sequence[int]) -> Mapping[str, Callable[[MemoryRepo], object]]:
    """Return what is measured, by name; what makes memories older comes last.

    Of one path a memory of 10 commits has 2 of them, and the old ones 10: more is answered there. Of another there are
    as many at each age. (The commit that began a memory is left out there, as it changed all files.)
    """
    changes = Texts().prepared(len(ages) * (WARM_UP + TURNS), 3, 100)
    return {
        "read": lambda repo: repo.get_files().result(TIMEOUT_S),
        OLD_AND_NEW: lambda repo: repo.get_history(path=path(3), limit=10).result(TIMEOUT_S),
        ALIKE: lambda repo: repo.get_history(path=path(FILES - 1), limit=SELDOM_CHANGES).result(TIMEOUT_S),
        "path history, the newest 2": lambda repo: repo.get_history(path=path(3), limit=2).result(TIMEOUT_S),
        "diff": lambda repo: repo.diff("HEAD~1", "HEAD").result(TIMEOUT_S),
        "commit": lambda repo: repo.commit(next(changes), "Learn").result(TIMEOUT_S),
    }


def _of_all(
    repos: Mapping[int, MemoryRepo], work: Callable[[MemoryRepo], object]
) -> Mapping[int, list[float]]:
    works = [partial(work, repo) for repo in repos.values()]
    return dict(zip(repos, in_turns_of_all(TURNS, works), strict=True))


def await_upkeep(bench: Bench) -> None:
    """Return when the worker has nothing to join or fold any more; a busy machine takes long for that."""
    wait_for(lambda: not bench.counters()["upkeep.pending"], "the upkeep to come to its end", UPKEEP_WAIT_S)


def _cold(lab: Lab, bench: Bench, number: int) -> dict[str, float]:
    """Open a memory cold, in a process that has nothing of it, and return what that takes and what there is of it."""
    store_url = json.loads(bench.job)["settings"]["store_url"]
    cache_dir = str(lab.new_folder(f"cold-{lab.next_number()}"))
    job = {"store_url": store_url, "cache_dir": cache_dir, "org": ORG, "agent": _agent(number)}
    return dict(json.loads(lab.run("benchmarks.cold_open", job, timeout_s=600)))


async def _grow(bench: Bench, ages: Sequence[int]) -> dict[int, float]:
    """Make memories with that many commits; return the worker's memory in MiB after each."""
    texts, memory, worker = Texts(), {}, psutil.Process(bench.pid)
    async with bench.asynchronous() as repos:
        for commits in ages:
            repo = repos.repo(org_id=ORG, agent_id=_agent(commits))
            await repo.create_repo(texts.files(FILES))
            for first in range(1, commits, UNDER_WAY):
                numbers = range(first, min(first + UNDER_WAY, commits))
                jobs = [
                    repo.commit(texts.changes(*changed(number, commits, FILES)), f"Learn {number}")
                    for number in numbers
                ]
                await repos.wait(jobs, timeout_s=TIMEOUT_S)
            memory[commits] = worker.memory_info().rss / MIB
    return memory
