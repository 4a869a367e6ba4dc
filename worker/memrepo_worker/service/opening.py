"""Bringing an agent's warm repository up to date: opened cold, caught up, or cleaned after a delete."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice

from memrepo.clock import Clock
from memrepo.lazy import lazy_property
from memrepo.limits import HORIZON_S, Limits
from memrepo_worker.bounds import COLD_OPEN_BYTES, ENTRY_BYTES, Bounds
from memrepo_worker.git.command import GitError, GitOverBoundsError, GitTooSlowError, GitUsage
from memrepo_worker.git.pack_sizes import find_blob
from memrepo_worker.group import Agent, Lease, TurnGoesOnError
from memrepo_worker.journal.entry import (
    Entry,
    EntryDoesNotFollowError,
    JournalDamagedError,
    NewerJournalError,
    ledger_bytes_max,
)
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import decode_lines, encode_lines
from memrepo_worker.journal.reading.found import FoundJournal, drained
from memrepo_worker.journal.reading.parts import LocalCopyStaleError
from memrepo_worker.journal.reading.presence import ENTRIES_LOOKED_AT_MAX, EntryLostError, require_present
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.reading.spool import OpenFile
from memrepo_worker.journal.seal import MARKERS_A_TURN, CleaningUnfinishedError, clean, require_base
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.trust import HarmedMeanwhileError, WarmRepoDamagedError
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.interface import NotThereError, PlaceTakenError, RefusedError, Store
from memrepo_worker.threads.fetchers import Fetchers
from memrepo_worker.threads.giving_way import will_wait

logger = logging.getLogger(__name__)

_RESTS = 4
"""How many times as long as what a turn of a delete took of a core the others have it."""


@dataclass(frozen=True)
class ServiceDependencies:
    """What the service works with. ``monotonic`` is the clock that leases are measured by.

    ``confirm_store`` raises ``UnavailableError`` where the store is not the one that the worker began with; so does
    ``check_store`` by what was last seen, without a request. ``tip_proof_s`` is how long ago a tip may have been
    proven the newest where a read is answered by it; writes need no such bound, their create proves it.
    ``journal_check_s`` is how long ago the store may have been seen to have what was taken in where a write goes on top
    of it.
    ``appended`` hears of each entry whose create succeeded, with its bytes if they are in memory, and ``opened`` from
    how many objects a memory was opened cold; neither waits or raises.
    """

    store: Store
    fetchers: Fetchers
    observer: Observer
    clock: Clock
    monotonic: Clock
    limits: Limits
    bounds: Bounds = field(default_factory=Bounds)
    horizon_s: float = HORIZON_S
    confirm_store: Callable[[], None] = lambda: None
    check_store: Callable[[], None] = lambda: None
    tip_proof_s: float = math.inf
    journal_check_s: float = math.inf
    markers_a_turn: int = MARKERS_A_TURN
    appended: Callable[[Agent, int, bytes | None], None] = lambda *_: None
    opened: Callable[[Agent, int], None] = lambda *_: None


def journal_reader(
    dependencies: ServiceDependencies, layout: Layout, lane: Executor, open_file: OpenFile | None = None
) -> JournalReader:
    """Return a reader of one agent's journal that keeps to the service's bounds; ``lane`` runs its requests."""
    bounds, count = dependencies.bounds, dependencies.observer.count
    return JournalReader(
        dependencies.store,
        layout,
        lane,
        bounds.cold_open_bytes_max,
        bounds.entry_bytes_max,
        lambda: count(ENTRY_BYTES),
        open_file,
        lambda: count(COLD_OPEN_BYTES),
    )


def journal_of(dependencies: ServiceDependencies, agent: Agent) -> JournalReader:
    """Return a reader of an agent's journal for who looks something up in it."""
    layout = Layout.of(agent.org_id, agent.agent_id)
    return journal_reader(dependencies, layout, dependencies.fetchers.lane())


class Opener:
    """Gives one agent's warm repository, known to be at the journal's newest entry, while its place is held."""

    def __init__(
        self,
        dependencies: ServiceDependencies,
        held: HeldRepo,
        layout: Layout,
        lease: Lease,
        before_store: Callable[[], None] = lambda: None,
    ) -> None:
        """``before_store`` is called before the store is asked for anything, and may raise what it likes."""
        self._dependencies = dependencies
        self._held = held
        self._layout = layout
        self._lease = lease
        self._before_store = before_store

    # Made where they are needed: most turns ask the store for nothing.

    @lazy_property
    def _lane(self) -> Executor:
        return self._dependencies.fetchers.lane()

    @lazy_property
    def journal(self) -> JournalReader:
        """The agent's journal, as the store has it."""
        return journal_reader(self._dependencies, self._layout, self._lane, self._held.open_file)

    def current(self, proof_age_s_max: float = math.inf, check_age_s_max: float = math.inf) -> WarmRepo:
        """Return the repository at the journal's newest entry, and with no delete unfinished.

        What was proven under this lease and not longer ago than ``proof_age_s_max`` is believed without a request, as
        long as the store was seen to have it not longer ago than ``check_age_s_max``.

        Raises:
            UnavailableError: the store does not say what is the newest.
            EntryLostError: the store has lost an entry that is here. The copy is kept, and is on disk whole.
            JournalDamagedError, WarmRepoDamagedError: what the store, or the local copy, holds does not fit together.
            GitOverBoundsError: git would need more than a worker may give it, also for the entries one by one.
            NewerJournalError: the store holds what a newer memrepo wrote; there is no local copy any more.
        """
        repo = self._held.find()
        now_s = self._dependencies.monotonic()
        is_due = repo is None or repo.trust.needs_check(now_s, check_age_s_max)
        if repo is None or is_due or not repo.is_current(self._lease, now_s, proof_age_s_max):
            self._before_store()
            self._dependencies.check_store()
            opened = self._dependencies.opened
            repo = self._open_cold(opened) if repo is None else self._brought_up_to_date(repo, is_due=is_due)
            repo.trust = repo.trust.proven(self._lease, now_s)
            if is_due:
                repo.trust = repo.trust.checked(repo.state.seq, now_s)
            if repo.state.begun:
                self._held.keep(repo)  # before a delete is finished, which may take many turns
        return self.clean(repo) if repo.needs_cleaning else repo

    def read_once(self) -> WarmRepo:
        """Return the repository as the store has it now, for one who only reads: no delete is finished here.

        That it opens slowly is no business of this worker: its owner may be another.

        Raises:
            UnavailableError, JournalDamagedError, WarmRepoDamagedError, GitOverBoundsError, NewerJournalError: as
                ``current``.
        """
        self._dependencies.check_store()
        return self._open_cold(lambda *_: None)

    def require_room(self) -> None:
        """Return where a memory that was never begun could be: who reads is told what keeps it from being begun.

        It takes one request to any store, though only in a folder something else may be in an object's place.

        Raises:
            RefusedError: something else is in the place of its first entry, as where that was lost.
        """
        try:
            self._dependencies.store.get_range(self._layout.entry(1), 0, 1)
        except PlaceTakenError as error:
            raise RefusedError(str(error)) from error
        except NotThereError:
            pass

    def has_legacy_layout(self) -> bool:
        """Whether files of the legacy layout lie where the journal is."""
        return self.journal.has_legacy_layout()

    def clean(self, repo: WarmRepo) -> WarmRepo:
        """Finish a delete: clean the store below its seal, and forget the objects here.

        Raises:
            TurnGoesOnError: a long journal takes several turns.
        """
        state = repo.state
        store, lane = self._dependencies.store, self._lane
        try:
            turn_max = self._dependencies.markers_a_turn
            clean(store, self._layout, state.seal, repo.ledger, lane, turn_max, repo.left_to_mark)
        except CleaningUnfinishedError as error:
            raise TurnGoesOnError(str(error), rest_s=_RESTS * error.cpu_s) from error
        lines = encode_lines(repo.ledger)
        fresh = self._held.fresh(replace(state, packs={}, ledger=()))
        fresh.ledger.remember(decode_lines(lines))
        fresh.trust = repo.trust.cleaned(state.seal)
        self._held.keep(fresh)
        return fresh

    def require_beginning(self, repo: WarmRepo) -> None:
        """Have a delete's base be in the store before a memory is begun on top of it: write it where it was lost.

        Raises:
            UnavailableError, RefusedError: the store does not say, or does not take it.
        """
        seal, prefix = repo.state.seal, self._layout.prefix
        if require_base(self._dependencies.store, self._layout, seal, repo.ledger):
            message = f"the base of the delete in {prefix} at entry {seal} was lost, and was written again"
            log(logger, logging.WARNING, "journal.base_restored", message, {"prefix": prefix})

    def forget_old_lines(self, repo: WarmRepo) -> None:
        """Forget ledger lines that no message can ask for any more."""
        repo.ledger.forget(self._dependencies.clock(), self._dependencies.horizon_s)

    def _brought_up_to_date(self, repo: WarmRepo, *, is_due: bool) -> WarmRepo:
        had = repo.state
        first = self._first_to_check(repo) if is_due else had.seq
        if self._catch_up(repo, first, is_due=is_due):
            return repo
        self._dependencies.confirm_store()  # a store that lost entries may be another one
        try:
            if had.begun:
                other = require_present(self.journal, first, had.seq, had.tip_sha256)
                if other is not None:
                    self._require_next(repo, other)
        except EntryLostError as error:
            self._keep_copy(repo, error)
            raise
        self._held.drop()
        return self._open_cold(self._dependencies.opened)

    def _require_next(self, repo: WarmRepo, other: Entry) -> None:
        """Return where an entry in the place of a copy's newest is another worker's next one, and the journal whole.

        So it is where the newest entries were lost, and a worker that never had them has gone on from what was left.

        Raises:
            EntryLostError: it was put there, or entries before it were: the copy has what the store has lost.
        """
        seq = repo.state.seq
        if _has_settled(repo, other):
            raise EntryLostError(
                f"entry {seq} was replaced by a copy of an earlier one; this worker has it whole", seq
            )
        try:
            with self._held.beside(self._held.agent) as place:
                Opener(self._dependencies, place, self._layout, self._lease).read_once()
        except JournalDamagedError as error:
            if error.seq > seq:
                raise
            told = f"{error}; this worker has it whole"
            raise EntryLostError(told, error.seq, in_base=error.in_base) from error

    def _first_to_check(self, repo: WarmRepo) -> int:
        """Return the entry from which on they are looked at: the last that was seen, not too far back."""
        seq, checked = repo.state.seq, repo.trust.checked_seq
        return seq if checked is None else max(min(checked, seq), seq - ENTRIES_LOOKED_AT_MAX, 1)

    def _keep_copy(self, repo: WarmRepo, error: EntryLostError) -> None:
        """Write to disk what there may be nowhere else."""
        error.copy = str(repo.path)
        try:
            repo.save()
        except (OSError, WarmRepoDamagedError):
            self._dependencies.observer.count("cache.failed")

    def _catch_up(self, repo: WarmRepo, first: int, *, is_due: bool) -> bool:
        """Take in what was appended since; False when the local copy is of no use any more."""
        state = repo.state
        since = self.journal.since(state.seq, first)
        try:
            if is_due:
                # Side by side: what was appended is taken in only on top of what is verified.
                is_there = self._lane.submit(self.journal.has_entry, state.seq, state.tip_sha256)
                begin = list(islice(since, 1))
                if not is_there.result():
                    return False
                since = chain(begin, since)
            for entries in since:
                if any(not entry.refs for entry in entries):
                    return False  # deleted meanwhile: a deleted repository's objects must not stay readable
                repo.absorb(drained(entries))
        except (LocalCopyStaleError, NewerJournalError, EntryDoesNotFollowError):
            return False  # what is not understood may have taken away what is here, or that may be another memory's
        return True

    def _open_cold(self, opened: Callable[[Agent, int], None]) -> WarmRepo:
        self._dependencies.observer.count("repo.opened_cold")
        will_wait()
        taken_in = partial(self._taken_in, opened, GitUsage())
        try:
            return self.journal.read(taken_in)
        except HarmedMeanwhileError:
            raise  # whoever holds the place makes it anew, from the same
        except (JournalDamagedError, WarmRepoDamagedError, GitOverBoundsError, GitTooSlowError) as error:
            passed_over = error
        # What stands for entries may be what is wrong, or too large for git: they themselves decide. First all of it
        # that was read is let go of: it may lie in files as large as the memory.
        _let_go_of_frames(passed_over)
        return self.journal.read_entries(taken_in, passed_over)

    def _taken_in(
        self, opened: Callable[[Agent, int], None], usage: GitUsage, found: FoundJournal
    ) -> WarmRepo:
        """Put what a journal holds into a new repository; what git may take for that is one bound of all its runs."""
        if found.seq == 0:
            self._dependencies.confirm_store()  # an empty place is not an empty store
        if found.passed_over is not None:
            self._tell_passed_over(found.passed_over)
        repo = self._held.fresh()
        unbounded, repo.git = repo.git, replace(repo.git, usage=usage)
        try:
            parts = self._absorbed(repo, found)
        except (JournalDamagedError, WarmRepoDamagedError) as error:
            _refuse_if_harmed(repo, error)
            raise
        repo.git = unbounded
        self.forget_old_lines(repo)
        opened(self._held.agent, parts)
        return repo

    def _absorbed(self, repo: WarmRepo, found: FoundJournal) -> int:
        """Have a repository take in a base and what follows on it; return how many objects of the store that were."""
        batches = found.batches()
        first = next(batches, [])
        parts = int(found.base is not None) + len(first)
        if found.base is not None:
            repo.begin_from(found.base, drained(first))
        else:
            repo.absorb(drained(first))
        self.forget_old_lines(repo)
        for entries in batches:
            parts += len(entries)
            repo.absorb(drained(entries))
            self.forget_old_lines(repo)
        return parts

    def _tell_passed_over(self, error: Exception) -> None:
        """Say that a memory opens slowly: what is joined of it is of no use, and its entries are read instead."""
        self._dependencies.observer.count("journal.accelerator_passed_over")
        prefix = self._layout.prefix
        message = f"a base or segment of {prefix} cannot be used, so its entries are read instead: {error}"
        log(logger, logging.WARNING, "journal.accelerator_passed_over", message, {"prefix": prefix})


def _has_settled(repo: WarmRepo, other: Entry) -> bool:
    """Whether all that an entry tells of requests is told in a copy in the same words, and leads elsewhere.

    What a request became is told once: where it was executed anew, it made another commit.
    """
    if other.refs == repo.state.refs:
        return False
    try:
        lines = decode_lines(find_blob(other.pack, other.ledger_sha, ledger_bytes_max(other.size)) or b"")
    except ValueError:
        return False  # it is damaged, which is found where it is taken in
    return bool(lines) and all(repo.ledger.find(line.request_id) == line for line in lines)


def _let_go_of_frames(error: BaseException | None) -> None:
    """Forget where an error and its causes came from, and with that what was at hand there."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _refuse_if_harmed(repo: WarmRepo, error: Exception) -> None:
    """Return where what git and we have read of a new local copy is what was written to it.

    What an entry builds on is not found, or git refuses it, also where the disk has lost it since: that is no fault of
    the entry, nor of what it was joined to.

    Raises:
        HarmedMeanwhileError: it is not.
    """
    fault = repo.packs.fault()
    if (
        fault is None
        and isinstance(error, WarmRepoDamagedError)
        and not isinstance(error.__cause__, GitError)
    ):
        fault = str(error)  # a file of ours, and not what git was given
    if fault is not None:
        raise HarmedMeanwhileError(f"{repo.path.name}: {fault}") from error
