"""A seeded life of one agent on a store that fails, and an oracle that saw every entry being written."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from memrepo.errors import MemoryRepoError, RepoNotFoundError
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import decode_entry
from memrepo_worker.journal.ledger import LedgerLine, decode_lines
from memrepo_worker.journal.seal import ends_repo
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, Store, UnavailableError, Version, When
from tests.support.faulty_store import FaultyStore, Plan
from tests.support.jobs import present
from tests.support.stock_git import git
from tests.support.writers import AGENT, Writer, commit, create, delete, files, writer

ATTEMPTS_MAX = 200


def blobs_of(pack: bytes) -> Iterator[bytes]:
    """Yield the contents of the blobs of a pack of whole objects."""
    position = 12
    while position < len(pack) - 20:
        kind = pack[position] >> 4 & 7
        while pack[position] & 0x80:
            position += 1
        inflate = zlib.decompressobj()
        content = inflate.decompress(pack[position + 1 :])
        position = len(pack) - len(inflate.unused_data)
        if kind == 3:
            yield content


class Oracle:
    """Beneath all faults: sees each entry that is really created, in order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.entries: list[tuple[dict[str, str], tuple[LedgerLine, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, key: str, data: bytes, when: When) -> Version:
        version = self._store.put(key, data, when)
        if when is ABSENT and "/journal/" in key:
            entry = decode_entry(len(self.entries) + 1, data)
            *_, ledger = blobs_of(bytes(entry.pack))
            self.entries.append((dict(entry.refs), decode_lines(ledger)))
        return version

    def lines(self) -> list[LedgerLine]:
        return [line for _, lines in self.entries for line in lines]

    def living(self) -> list[str]:
        """The shas of the commits made since the last seal, oldest first."""
        shas: list[str] = []
        for refs, lines in self.entries:
            if ends_repo(refs, lines):
                shas = []
            shas += [line.sha for line in lines if line.verdict == "committed"]
        return shas


@dataclass
class Life:
    """One agent, a few writers, and groups that are retried, abandoned and redelivered until they are answered."""

    folder: Path
    random: Random
    plan: Plan
    stack: ExitStack
    answers: dict[str, tuple[Request, Any]] = field(default_factory=dict)
    caches: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.oracle = Oracle(MemoryStore())
        self.faulty = FaultyStore(self.oracle, self.plan, sleep=lambda _: None)
        self.writers = [self.open_writer(), self.open_writer()]
        self.delivered: list[tuple[Request, ...]] = []

    def open_writer(self, store: Store | None = None) -> Writer:
        return self.stack.enter_context(
            writer(store or self.faulty, self.folder / f"cache-{next(self.caches)}")
        )

    def live(self, groups: int) -> None:
        for number in range(groups):
            self.deliver(self.some_group(number))
        for group in self.random.sample(self.delivered, min(2, len(self.delivered))):
            self.deliver(group)  # redelivered long after

    def some_group(self, number: int) -> tuple[Request, ...]:
        dice = self.random.random()
        if dice < 0.1:
            return (delete(),)
        if dice < 0.2:
            return (create(first=f"{number}"), commit(f"{number} after create"), files())
        if dice < 0.3:
            return (commit(f"{number} no-op", {"nothing": None}), files())
        return tuple(
            commit(
                f"{number} {part}",
                {f"f{part}": f"{number}"},
                create_repo_if_missing=self.random.random() < 0.3,
            )
            for part in range(self.random.randrange(1, 4))
        )

    def deliver(self, group: tuple[Request, ...]) -> None:
        """Hand a group to a writer, again while the store fails; now and then the writer dies meanwhile."""
        self.delivered.append(group)
        for _ in range(ATTEMPTS_MAX):
            index = self.random.randrange(len(self.writers))
            if self.random.random() < 0.3:
                self.writers[index].new_lease()
            if self.random.random() < 0.1:
                self.writers[index] = self.open_writer()
            with suppress(UnavailableError):
                return self.record(group, self.writers[index].group(*group))
        raise AssertionError(f"not answered in {ATTEMPTS_MAX} attempts")

    def record(self, group: tuple[Request, ...], outcomes: list[Any]) -> None:
        for request, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, Exception):
                assert isinstance(outcome, MemoryRepoError), outcome
            if request.MUTATES and not self.was_nobodys(request, outcome):
                first = self.answers.setdefault(request.request_id, (request, outcome))[1]
                assert _essence(first) == _essence(outcome), "answered twice, differently"

    def was_nobodys(self, request: Request, outcome: Any) -> bool:
        """Whether the request met a journal that was never begun: the one answer that leaves no line."""
        if not isinstance(outcome, RepoNotFoundError):
            return False
        return all(line.request_id != request.request_id for line in self.oracle.lines())

    def check(self) -> None:
        """Hold what was answered against what is in the store, by the oracle and by stock git."""
        self.faulty.land_late_puts()
        lines = self.oracle.lines()
        settled = {line.request_id: line for line in lines}
        assert len(settled) == len(lines), "a request was settled twice"
        assert set(settled) == set(self.answers), "acknowledged, but not in the journal, or the reverse"
        for request_id, (_, outcome) in self.answers.items():
            line = settled[request_id]
            assert _essence(outcome) == ((line.error and type(line.error).__name__) or _sha(line))
        self.check_deleted_bytes_are_gone()
        self.check_with_stock_git()

    def check_deleted_bytes_are_gone(self) -> None:
        """Every delete was answered, so nothing below the newest seal may keep bytes."""
        seals = [seq for seq, entry in enumerate(self.oracle.entries, start=1) if ends_repo(*entry)]
        prefix = "acme/agent-1/repo.git/"
        for item in self.oracle.list(f"{prefix}journal/") if seals else ():
            seq = int(item.key.rpartition("/")[2].partition(".")[0])
            assert seq >= seals[-1] or item.size == 0, f"entry {seq} outlived the seal {seals[-1]}"

    def check_with_stock_git(self) -> None:
        judge = self.open_writer(self.oracle)
        (outcome,) = judge.group(files())
        living = self.oracle.living()
        if isinstance(outcome, MemoryRepoError):
            assert not living
            return
        judge.warm().save()
        repo = present(judge.service.cache.path_of(AGENT))
        log = git(repo, "rev-list", "--reverse", "main").decode().split()
        assert log == living
        git(repo, "fsck", "--strict", "--full")


def _sha(line: LedgerLine) -> str | None:
    return line.sha if line.verdict in ("committed", "unchanged") else None


def _essence(outcome: Any) -> Any:
    """What must not differ between two answers to one request."""
    if isinstance(outcome, MemoryRepoError):
        return type(outcome).__name__
    return getattr(outcome, "sha", None)


def live_and_check(folder: Path, seed: int, rate: float = 0.3, groups: int = 14) -> FaultyStore:
    """Run one seeded life to its end; returns the store, which counted the faults."""
    from tests.support.faulty_store import seeded

    random = Random(seed)
    with ExitStack() as stack:
        life = Life(folder, random, seeded(random, rate), stack)
        life.live(groups)
        life.check()
        return life.faulty


__all__ = ["AGENT", "Agent", "Life", "Oracle", "live_and_check"]
