"""What agents do with memory besides committing and reading, against how they would do without."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, at_most, ratio
from benchmarks.lab import Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import in_turns

FILES = 200
SEARCHES = 100
PATTERN = r"[a-f]{3}[0-9]+ nowhere$"
"""It is found in no file, so all are looked through to their ends."""


def verbs(lab: Lab) -> Iterator[Figure]:
    """Measure each verb, in turns with what it stands for."""
    yield from _search(lab)


def _search(lab: Lab) -> Iterator[Figure]:
    """Measure looking through 200 files of 2 kB, against having them all sent to be looked through."""
    with lab.worker() as bench:
        repo = bench.repo("searched")
        repo.create_repo(Texts().files(FILES)).result(TIMEOUT_S)
        ours, plain = in_turns(
            SEARCHES,
            lambda: repo.search(PATTERN, regex=True).result(TIMEOUT_S),
            lambda: repo.get_files().result(TIMEOUT_S),
        )
    name = "search of 200 files p50 / get_files p50"
    yield ratio(name, ours, plain, at_most(1.0), of=("search", "get_files"))
