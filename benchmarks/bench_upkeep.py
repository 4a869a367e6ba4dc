"""What upkeep does to the agents that go on: folding beside commits, and the delete of a long journal."""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from benchmarks.figures import Figure, at_most, p50, p95
from benchmarks.histories import Histories, make
from benchmarks.lab import Bench, Lab
from benchmarks.neighbours import Span, commit_spans, commit_times, memory_peak
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts

ALONE_S = 10.0
WRITERS = 3
WRITING_S, WRITING_LONG_S = 30.0, 120.0
ENTRIES, ENTRIES_LONG = 1_000, 10_000
DELETE_TIMEOUT_S = 600.0
FILES = 200
MIB = 1 << 20


def folding(lab: Lab) -> Iterator[Figure]:
    """Measure commits of 50 agents, and of three that never rest, while memories are folded and where none is.

    Each commit is an entry of its own, so the three are folded every 64 commits.
    """
    seconds = WRITING_LONG_S if lab.long else WRITING_S
    file = lab.new_folder(f"jobs-{lab.next_number()}") / "jobs"
    file.touch()
    with lab.worker(group_requests_max=1, fold=False) as bench:
        without, writers_without = _written(bench, seconds)
    with lab.worker(group_requests_max=1, jobs=file) as bench:
        spans, writers = _written(bench, seconds)
        counted = bench.counters()
    folds = sorted(_spans_of("fold", file))
    for who, of_all, before in (
        ("50 agents", spans, without),
        ("writers without rest", writers, writers_without),
    ):
        during = [end - begin for begin, end in of_all if _overlaps((begin, end), folds)]
        base = [end - begin for begin, end in before]
        parts = {
            "without p50 ms": p50(base) * 1e3,
            "without p95 ms": p95(base) * 1e3,
            "during p50 ms": p50(during) * 1e3,
            "during p95 ms": p95(during) * 1e3,
            "commits without": len(base),
            "commits during": len(during),
            "folds": counted["upkeep.fold.done"],
            "share of the time %": sum(end - begin for begin, end in folds) / seconds * 100,
            "longest fold s": max(end - begin for begin, end in folds),
        }
        name = f"commit p95 of {who} while folding runs / without"
        yield Figure(name, p95(during) / p95(base), "x", at_most(2), parts)


def delete(lab: Lab) -> Iterator[Figure]:
    """Measure the delete of a memory of 10,000 entries (1,000 in the short form), and what 50 others feel of it."""
    entries = ENTRIES_LONG if lab.long else ENTRIES
    with lab.worker() as bench:
        store_url = json.loads(bench.job)["settings"]["store_url"]
        make(lab, store_url, lab.new_folder(f"made-{lab.next_number()}"), Histories(["doomed"], entries))
        repo = bench.repo("doomed")
        repo.get_head_sha().result(TIMEOUT_S)
        commit_times(bench, 1.0)  # warm
        alone = commit_times(bench, ALONE_S)
        before = bench.counters()
        with memory_peak(bench.pid) as peak, ThreadPoolExecutor(1) as executor:
            deleted = executor.submit(_deleted_s, bench)
            spans = commit_spans(bench, lambda: not deleted.done())
            began_s, ended_s = deleted.result()
        spent = bench.counters() - before
    beside = [end - begin for begin, end in spans if _overlaps((begin, end), [(began_s, ended_s)])]
    parts = {
        "alone p50 ms": p50(alone) * 1e3,
        "alone p95 ms": p95(alone) * 1e3,
        "beside p50 ms": p50(beside) * 1e3,
        "beside p95 ms": p95(beside) * 1e3,
        "beside max ms": max(beside) * 1e3,
        "commits beside": len(beside),
    }
    yield Figure(
        f"commit p95 beside a delete of {entries:,} entries / alone",
        p95(beside) / p95(alone),
        "x",
        at_most(2),
        parts,
    )
    requests = {
        f"{kind} requests of all": spent[f"store.{kind}.requests"]
        for kind in ("put", "get", "list", "delete")
    }
    yield Figure(f"delete of {entries:,} entries", ended_s - began_s, "s", None, requests)
    yield Figure("memory of the worker beside it", peak.bytes / MIB, "MiB", at_most(1024))


def _deleted_s(bench: Bench) -> Span:
    """Delete the memory, a second after others began; return from when to when that took."""
    time.sleep(1.0)
    began_s = time.time()
    bench.repo("doomed").delete_repo().result(DELETE_TIMEOUT_S)
    return began_s, time.time()


def _written(bench: Bench, seconds: float) -> tuple[list[Span], list[Span]]:
    """Have 50 agents, and three without rest, commit for so long; return when their commits were under way."""
    over = threading.Event()
    with ThreadPoolExecutor(WRITERS) as executor:
        writers = [executor.submit(_write, bench, f"writer-{number}", over) for number in range(WRITERS)]
        commit_times(bench, 1.0)  # warm
        until_s = time.monotonic() + seconds
        spans = commit_spans(bench, lambda: time.monotonic() < until_s)
        over.set()
        return spans, [span for writer in writers for span in writer.result()]


def _write(bench: Bench, name: str, over: threading.Event) -> list[Span]:
    texts, repo, spans = Texts(), bench.repo(name), list[Span]()
    repo.create_repo(texts.files(FILES)).result(TIMEOUT_S)
    for number in count():
        if over.is_set():
            break
        changes = texts.changes(number % FILES, (number * 7 + 1) % FILES)
        began_s, start_s = time.time(), time.perf_counter()
        repo.commit(changes, "Learn").result(TIMEOUT_S)
        spans.append((began_s, began_s + time.perf_counter() - start_s))
    return spans


def _spans_of(kind: str, file: Path) -> Iterator[Span]:
    for line in file.read_text().splitlines():
        word, began_s, ended_s = line.split()
        if word == kind:
            yield float(began_s), float(ended_s)


def _overlaps(span: Span, others: Sequence[Span]) -> bool:
    """Whether something was under way while one of these was; they are in order, and follow each other."""
    behind = bisect_left(others, span[1], key=lambda other: other[0])
    return behind > 0 and others[behind - 1][1] > span[0]
