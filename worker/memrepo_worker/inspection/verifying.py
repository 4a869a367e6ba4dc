"""Verifying one agent's journal from end to end, by stock git: every object that is damaged is named."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from memrepo.clock import Clock
from memrepo.limits import HORIZON_S
from memrepo_worker.git.command import Git, GitOverBoundsError, GitTooSlowError
from memrepo_worker.group import Agent
from memrepo_worker.inspection.checking import JournalCheck, LookCloserError
from memrepo_worker.inspection.damage import Damage, Kind
from memrepo_worker.inspection.foreign import Foreign
from memrepo_worker.inspection.listing import JournalListing
from memrepo_worker.inspection.objects import Objects
from memrepo_worker.journal.entry import JournalUnreadableError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine, lines_to_keep
from memrepo_worker.journal.reading.found import FoundJournal, drained
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.interface import ListedObject, Store
from memrepo_worker.upkeep.scratch import scratch_folder

_LOOKS_MAX = 3


@dataclass(frozen=True)
class Verified:
    """What was found of one agent's memory; ``exists`` is whether it has a repository now.

    ``entries`` are those that are there, markers too, and ``commits`` how many there are; None of what is damaged.
    ``foreign`` is what lies beside it that memrepo does not know; that is no damage.
    """

    agent: Agent
    entries: int
    commits: int | None
    exists: bool
    was_deleted: bool
    damages: tuple[Damage, ...]
    foreign: Foreign


@dataclass(frozen=True)
class Verifier:
    """Verifies journals of one store, beside its workers. ``scratch`` is a folder for what it works on.

    It takes the memory's size on disk twice, and of memory some batches of 32 MiB, or the largest object, beside 50
    bytes for each git object, 100 for each entry and about 400 for each request in the ledgers.
    """

    store: Store
    git: Git
    executor: Executor
    clock: Clock
    scratch: Path
    horizon_s: float = HORIZON_S

    def verify(self, agent: Agent) -> Verified:
        """Check every object of an agent's journal, and that a worker could open it; nothing is written.

        Entries must follow each other without a gap, each a bundle that keeps the rules, whose pack stock git takes
        and whose refs lead to nothing that is not there; bases and segments must hold what the entries hold. What moves
        while it is looked at (a delete, a fold) is looked at again.

        Raises:
            UnavailableError, RefusedError: the store does not give all of it.
            GitTroubleError, GitOverBoundsError, OSError: the machine, or the bounds for git, do not let it.
        """
        layout = Layout.of(agent.org_id, agent.agent_id)
        for _ in range(_LOOKS_MAX):
            objects = [*self.store.list(layout.prefix)]
            found = self._look(agent, layout, objects)
            if not found.damages or self._is_as_listed(layout, objects):
                break
        return found

    def _is_as_listed(self, layout: Layout, objects: Sequence[ListedObject]) -> bool:
        """Whether nothing of what was listed has gone, or changed its size, and no base has come; entries may have.

        A listing that goes on while a delete begins shows markers, and not the base that was written before them.
        """
        now = {item.key: item.size for item in self.store.list(layout.prefix)}
        before = {item.key: item.size for item in objects}
        has_come = any(layout.base_seq(key) is not None for key in now.keys() - before.keys())
        return not has_come and before.items() <= now.items()

    def _look(self, agent: Agent, layout: Layout, objects: Sequence[ListedObject]) -> Verified:
        listing = JournalListing.of(layout, objects)
        if not listing.damages:
            try:
                return self._checked(agent, layout, listing, each=False)
            except LookCloserError:
                pass
        return self._checked(agent, layout, listing, each=True)

    def _checked(self, agent: Agent, layout: Layout, listing: JournalListing, *, each: bool) -> Verified:
        with scratch_folder(self.scratch) as folder:
            objects = Objects(self.git, folder / "journal.git")
            check = JournalCheck(self.store, listing, objects, self.executor, each=each)
            check.run(self._kept)
            damages = [*check.damages]
            if listing.entries and not damages:
                damages += self._opened(layout, folder / "opened.git")
            commits = None if damages else objects.commits({*check.refs.values()}) if check.refs else 0
        exists = bool(check.refs)
        return Verified(
            agent, len(listing.entries), commits, exists, check.was_deleted, tuple(damages), listing.foreign
        )

    def _kept(self, lines: Sequence[LedgerLine]) -> Sequence[LedgerLine]:
        return [*lines_to_keep(lines, self.clock(), self.horizon_s)]

    def _opened(self, layout: Layout, path: Path) -> list[Damage]:
        """Open the memory as a worker does, under a worker's bounds for git."""
        most = self.git.caps.entry_bytes_max
        journal = JournalReader(self.store, layout, self.executor, entry_bytes_max=most)

        def take(found: FoundJournal) -> None:
            shutil.rmtree(path, ignore_errors=True)  # it is called again where the journal moved
            repo = WarmRepo.empty(path, self.git)
            if found.base is not None:
                repo.begin_from(found.base)
            for entries in found.batches():
                repo.absorb(drained(entries))

        try:
            journal.read(take)
        except (GitOverBoundsError, GitTooSlowError, WarmRepoDamagedError, JournalUnreadableError) as error:
            return [Damage(layout.journal, Kind.UNOPENABLE, " ".join(str(error).split()))]
        return []
