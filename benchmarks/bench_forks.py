"""What a fork takes, of memories of several sizes: of one that its worker has warm, of one that it has not, and beside.

It has no bound of its own: a fork is one entry with all that it copies, so its time grows with that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from benchmarks.figures import Figure, p50, p95
from benchmarks.lab import Bench, Lab
from benchmarks.neighbours import commit_spans, commit_times
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import timed_from_rest
from memrepo import MemoryRepo

SIZES, SIZE_LONG = (10, 1_000), 100_000
FILE_BYTES = 200
FORKS, FORKS_OF_MANY = 20, 3
ALONE_S = 10.0
BESIDE_S = 15.0


def forks(lab: Lab) -> Iterator[Figure]:
    """Measure forks of memories of some files, each with its whole history."""
    for size in (*SIZES, *((SIZE_LONG,) if lab.long else ())):
        yield from _forks_of(lab, size)


def _forks_of(lab: Lab, size: int) -> Iterator[Figure]:
    count = FORKS if size < SIZE_LONG else FORKS_OF_MANY
    # Room for one repository: whatever another agent asks for, the source is cold after it.
    with lab.worker(cache_repos_max=1) as bench:
        source = _memory(bench, size)
        other = bench.repo("other")
        other.create_repo().result(TIMEOUT_S)
        cold = []
        for number in range(count):
            other.get_head_sha().result(TIMEOUT_S)
            cold.append(_fork(source, f"cold-{number}"))
    with lab.worker() as bench:
        source = _memory(bench, size)
        _fork(source, "first")
        before = bench.counters()
        warm = [_fork(source, f"warm-{number}") for number in range(count)]
        used = bench.counters() - before
        alone, beside, made = _beside(bench, source)
    bytes_each = used["store.put.bytes"] / count
    requests = sum(used[key] for key in used if key.endswith(".requests")) / count
    name = f"fork of {size:,} files"
    parts = {
        "warm p50 ms": p50(warm) * 1e3,
        "warm p95 ms": p95(warm) * 1e3,
        "cold p50 ms": p50(cold) * 1e3,
        "store requests": requests,
        "forks beside others": made,
    }
    yield Figure(f"{name}, warm p50", p50(warm) * 1e3, "ms", None, parts)
    yield Figure(f"{name}: bytes written", bytes_each / 1024, "KiB")
    both = {"alone ms": p95(alone) * 1e3, "beside ms": p95(beside) * 1e3}
    yield Figure(f"commit p95 beside {name} / alone", p95(beside) / p95(alone), "x", None, both)


def _memory(bench: Bench, size: int) -> MemoryRepo:
    """Make a memory of so many small files, a thousand in a commit."""
    repo, texts = bench.repo("source"), Texts()
    for first in range(0, size, 1_000):
        numbers = range(first, min(first + 1_000, size))
        files = {f"notes-{number // 100}/{number}.md": texts.line(FILE_BYTES) for number in numbers}
        repo.commit(files, "Learn", create_repo_if_missing=True).result(TIMEOUT_S)
    return repo


def _fork(source: MemoryRepo, agent_id: str) -> float:
    return timed_from_rest(lambda: source.fork(agent_id).result(TIMEOUT_S))


def _beside(bench: Bench, source: MemoryRepo) -> tuple[list[float], list[float], int]:
    """Return how long commits of 50 others took alone, and while one fork follows another, and how many did."""
    commit_times(bench, 2.0)
    alone = commit_times(bench, ALONE_S)
    over, made = threading.Event(), 0

    def fork() -> None:
        nonlocal made
        until_s = time.monotonic() + BESIDE_S
        while time.monotonic() < until_s:
            _fork(source, f"beside-{made}")
            made += 1
        over.set()

    thread = threading.Thread(target=fork)
    thread.start()
    spans = commit_spans(bench, lambda: not over.is_set())
    thread.join()
    return alone, [end - begin for begin, end in spans], made
