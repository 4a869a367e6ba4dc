"""What agents do with memory besides committing and reading, against how they would do without."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from benchmarks.far import further_away
from benchmarks.figures import Figure, at_most, ratio
from benchmarks.lab import Lab
from benchmarks.plain import TIMEOUT_S
from benchmarks.texts import Texts
from benchmarks.timing import WARM_UP, in_turns, in_turns_of_all, timed_from_rest
from memrepo import FileChange, append

FILES = 200
ROUND_TRIP_S = 0.030
LARGE_BYTES, LINE_BYTES, APPENDS = 1_000_000, 100, 50
MERGES = 100
SEARCHES = 100
PATTERN = r"[a-f]{3}[0-9]+ nowhere$"
"""It is found in no file, so all are looked through to their ends."""


def verbs(lab: Lab) -> Iterator[Figure]:
    """Measure each verb, in turns with what it stands for."""
    yield from _append(lab)
    yield from _merge(lab)
    yield from _search(lab)


def _append(lab: Lab) -> Iterator[Figure]:
    """Measure adding a line to a file of 1 MB, against reading it and writing it whole; the store is 30 ms away.

    A commit of the line alone, in turns with both, says what of it is the store's distance and the queue's.
    """
    texts = Texts()
    with (
        further_away(lab, lab.seaweedfs.endpoint_url, ROUND_TRIP_S) as far,
        lab.worker(endpoint_url=far) as bench,
    ):
        ours, by_hand, small = (bench.repo(name) for name in ("appended", "by-hand", "small"))
        text = texts.text(LARGE_BYTES - 1) + "\n"
        for repo in (ours, by_hand, small):
            repo.create_repo({"log.md": text if repo is not small else "\n"}).result(TIMEOUT_S)
        lines = iter([texts.line(LINE_BYTES) for _ in range(3 * (WARM_UP + APPENDS) + APPENDS)])

        def read_and_write() -> None:
            file = by_hand.get_file("log.md").result(TIMEOUT_S)
            by_hand.commit(
                [
                    FileChange(
                        path="log.md",
                        content=file.data + next(lines).encode(),
                        expected_sha256=sha256(file.data).hexdigest(),
                    )
                ],
                "Learn",
            ).result(TIMEOUT_S)

        def add() -> None:
            ours.commit([append("log.md", next(lines))], "Learn").result(TIMEOUT_S)

        def write_small() -> None:
            small.commit({"log.md": next(lines)}, "Learn").result(TIMEOUT_S)

        appended, written, least = in_turns_of_all(APPENDS, [add, read_and_write, write_small])
        before = bench.counters()
        for _ in range(APPENDS):
            add()
        share = (bench.counters() - before)["store.put.bytes"] / APPENDS / LARGE_BYTES
    name = "append to a file of 1 MB p50 / get and commit by hand"
    yield ratio(name, appended, written, at_most(0.5), of=("append", "by hand"))
    name = "append to a file of 1 MB p50 / commit of a file of 100 bytes p50"
    yield ratio(name, appended, least, at_most(1.1), of=("append", "small commit"))
    name = "bytes written by an append / the file's bytes"
    yield Figure(name, share, "", at_most(0.02), {"bytes per append": share * LARGE_BYTES})


def _merge(lab: Lab) -> Iterator[Figure]:
    """Measure merging a branch of 200 files into another, each with a commit of its own since, against a commit."""
    texts = Texts()
    with lab.worker() as bench:
        repo = bench.repo("merged")
        repo.create_repo(texts.files(FILES)).result(TIMEOUT_S)
        repo.create_branch("draft").result(TIMEOUT_S)
        changes = [texts.prepared(WARM_UP + MERGES, number, number + 90) for number in (31, 62, 93)]

        def part() -> None:
            for branch, each in zip(("draft", "main"), changes[:2], strict=True):
                repo.commit(next(each), "Learn", branch=branch).result(TIMEOUT_S)

        def merge() -> None:
            assert repo.merge("draft").result(TIMEOUT_S).kind == "merge"

        def commit() -> None:
            repo.commit(next(changes[2]), "Learn").result(TIMEOUT_S)

        def one_round() -> tuple[float, float]:
            part()
            taken = timed_from_rest(merge), timed_from_rest(commit)
            repo.merge("main", "draft").result(TIMEOUT_S)
            return taken

        rounds = [one_round() for _ in range(WARM_UP + MERGES)][WARM_UP:]
    merges, commits = zip(*rounds, strict=True)
    name = "merge of two branches of 200 files p50 / commit p50"
    yield ratio(name, merges, commits, at_most(1.5), of=("merge", "commit"))


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
