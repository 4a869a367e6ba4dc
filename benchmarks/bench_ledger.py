"""What the number of requests that a ledger remembers costs: at a flush, in memory, and at a restart."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

from benchmarks.figures import Figure, at_most, ratio
from benchmarks.lab import Lab
from benchmarks.texts import Texts
from benchmarks.timing import timed
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.journal.ledger import COMMITTED, LedgerLine
from memrepo_worker.repos.warm import WarmRepo
from tests.support.stock_git import stock_git

FEW, MANY = 400, 400_000
FLUSHES = 40
ENTRIES_PER_FLUSH = 64
COMMITS_PER_S = 5
BEGAN_S = 1_750_000_000.0


@dataclass
class Agent:
    """A warm repository that takes in commits of three objects, and remembers as many as it began with."""

    repo: WarmRepo
    lines: int
    numbers: Iterator[int]
    texts: Texts

    def line(self, number: int) -> LedgerLine:
        """Return the line of a request."""
        return LedgerLine(
            str(uuid4()), uuid4().hex, COMMITTED, BEGAN_S + number / COMMITS_PER_S, uuid4().hex + "0" * 8
        )

    def begin(self) -> None:
        """Remember what was settled before."""
        for _ in range(self.lines // FEW):
            self.repo.install(1, "0" * 64, {}, {}, [self.line(next(self.numbers)) for _ in range(FEW)])
        self.repo.save()

    def fill(self) -> None:
        """Take in as many commits as are written together."""
        for _ in range(ENTRIES_PER_FLUSH):
            number = next(self.numbers)
            items = [GitObject(Kind.BLOB, self.texts.text().encode()) for _ in range(3)]
            objects = {object_id(item): item for item in items}
            self.repo.install(number, "0" * 64, objects, {}, [self.line(number)])

    def flush(self) -> None:
        """Write them, and forget as many old ones; as a turn does at its end."""
        newest_s = BEGAN_S + next(self.numbers) / COMMITS_PER_S
        self.repo.ledger.forget(newest_s, self.lines / COMMITS_PER_S / 2)
        self.repo.save()


def ledger(lab: Lab) -> Iterator[Figure]:
    """Flush two warm repositories in turns, one of which remembers a thousand times more requests."""
    folder = lab.new_folder("ledger")
    many = _agent(folder / "many.git", MANY)
    few = _agent(folder / "few.git", FEW)
    times: dict[int, list[float]] = {FEW: [], MANY: []}
    for _ in range(FLUSHES):
        for one in (many, few):
            one.fill()
            times[one.lines].append(timed(one.flush))
    ages = (f"at {MANY:,}", f"at {FEW}")
    yield ratio(
        f"flush of a warm repository with {MANY:,} ledger lines / with {FEW}",
        times[MANY],
        times[FEW],
        at_most(1.5),
        of=ages,
    )
    seconds = timed(lambda: WarmRepo.load(many.repo.path, stock_git()))
    yield Figure(f"reading {MANY:,} ledger lines at a restart", seconds, "s")
    yield Figure(
        f"memory per ledger line, of {MANY:,}", _memory_of(many.repo.path) / MANY, "bytes", at_most(200)
    )


def _memory_of(path: Path) -> int:
    """Return how many bytes Python has allocated for a warm repository that was read from disk."""
    tracemalloc.start()
    kept = WarmRepo.load(path, stock_git())
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    return taken


def _agent(path: Path, lines: int) -> Agent:
    agent = Agent(WarmRepo.empty(path, stock_git()), lines, count(1), Texts())
    agent.begin()
    return agent
