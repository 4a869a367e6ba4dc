"""Reads of a warm repository of 200 files against a task that returns the same bytes."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, at_most, p50, ratio
from benchmarks.lab import Lab
from benchmarks.plain import ECHO, KEEP, TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import in_turns, timed
from memrepo.wire.operations import GET_FILES

FILES = 200
READS = 100


def read(lab: Lab) -> Iterator[Figure]:
    """Measure reading all of 200 files of 2 kB, in turns with an echo of that read's very result."""
    texts = Texts()
    with lab.worker() as bench:
        repo = bench.repo("warm")
        repo.create_repo(texts.files(FILES)).result(TIMEOUT_S)
        repo.commit(texts.changes(31), "Learn").result(TIMEOUT_S)
        result = GET_FILES.result_to_json(repo.get_files().result(TIMEOUT_S))
        bench.plain.call(KEEP, value=result)

        before = bench.counters()
        ours, echo = in_turns(
            READS, lambda: repo.get_files().result(TIMEOUT_S), lambda: bench.plain.call(ECHO)
        )
        spent = bench.counters() - before
    decoding = [timed(lambda: GET_FILES.result_from_json(result)) for _ in range(READS)]
    parts = {
        "of which decoding into models, in the client, ms": p50(decoding) * 1e3,
        "store requests": sum(spent[name] for name in spent if name.startswith("store.")),
        "processes started": spent["process.started"],
    }
    name = "warm read of 200 files p50 / echo task p50"
    yield ratio(name, ours, echo, at_most(1.25), of=("read", "echo"), parts=parts)
