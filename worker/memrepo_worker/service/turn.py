"""One group's turn at its agent's repository.

bring the warm repository up to date, unless it is known to be
→ draft the next entry: every mutating request in order, each read noting the refs it found
→ append it by one conditional create; lost to a rival? take in what won, and draft anew
→ install it, finish what a delete began, and answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from memrepo.clock import Clock
from memrepo.errors import InvalidRequestError, MemoryRepoError, RepoNotFoundError, RequestExpiredError
from memrepo.limits import HORIZON_S, Limits
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.reads import FindRequestRequest
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.journal.reader import JournalReader, LocalCopyStaleError
from memrepo_worker.journal.seal import clean
from memrepo_worker.observe import Observer
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.draft import Draft, View
from memrepo_worker.repos.state import sha256_of
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.reads import answer
from memrepo_worker.service.results import result_of
from memrepo_worker.service.writes.table import settle
from memrepo_worker.store.interface import Store


@dataclass(frozen=True)
class ServiceDependencies:
    """What the service works with. ``monotonic`` is the clock that leases are measured by.

    ``confirm_store`` raises ``UnavailableError`` where the store is not the one that the worker began with.
    """

    store: Store
    executor: Executor
    observer: Observer
    clock: Clock
    monotonic: Clock
    limits: Limits
    horizon_s: float = HORIZON_S
    confirm_store: Callable[[], None] = lambda: None


PendingOutcome = LedgerLine | View | MemoryRepoError
"""What a draft leaves of each request: a verdict, the refs that a read found, or a refusal that changes nothing."""


class Turn:
    """Settles one group while it holds the agent's place in the cache."""

    def __init__(self, dependencies: ServiceDependencies, held: HeldRepo, group: Group) -> None:
        self._dependencies = dependencies
        self._held = held
        self._group = group
        self._agent: Agent = group.agent
        self._layout = Layout.of(group.agent.org_id, group.agent.agent_id)
        self._journal = JournalReader(dependencies.store, self._layout, dependencies.executor)

    def take(self) -> Sequence[Outcome]:
        """Settle every request; see ``GroupHandler`` for what callers may rely on."""
        repo = self._current()
        draft, pending = self._draft(repo)
        while draft.is_needed and not self._publish(repo, draft):
            repo = self._current()
            draft, pending = self._draft(repo)
        outcomes = [
            self._outcome(request, pending, repo)
            for request, pending in zip(self._group.requests, pending, strict=True)
        ]
        self._finish(repo)
        return outcomes

    # The repository, up to date

    def _current(self) -> WarmRepo:
        """Return the warm repository: known to be at the journal's newest entry, and with no delete unfinished."""
        repo = self._held.find()
        if repo is None:
            repo = self._open_cold()
        elif not repo.is_proven(self._group.lease, self._dependencies.monotonic()):
            repo = self._brought_up_to_date(repo)
        if repo.needs_cleaning:
            repo = self._clean(repo)
        if repo.state.begun:
            self._held.keep(repo)
        return repo

    def _brought_up_to_date(self, repo: WarmRepo) -> WarmRepo:
        if not self._catch_up(repo):
            self._dependencies.confirm_store()  # a store that lost entries may be another one
            self._held.drop()
            return self._open_cold()
        repo.prove(self._group.lease)
        return repo

    def _catch_up(self, repo: WarmRepo) -> bool:
        """Take in what was appended since; False when the local copy is of no use any more."""
        state = repo.state
        if not repo.is_verified:
            if not self._journal.has_entry(state.seq, state.tip_sha256, sha256_of):
                return False
            repo.is_verified = True
        try:
            entries = self._journal.since(state.seq)
        except LocalCopyStaleError:
            return False
        if any(not entry.refs for entry in entries):
            return False  # deleted meanwhile: a deleted repository's objects must not stay readable
        repo.absorb(entries)
        return True

    def _open_cold(self) -> WarmRepo:
        self._dependencies.observer.count("repo.opened_cold")
        opening = self._journal.open()
        if opening.seq == 0:
            self._dependencies.confirm_store()  # an empty place is not an empty store
        repo = self._held.fresh()
        if opening.base is not None:
            repo.begin_from(opening.base)
        repo.absorb(opening.entries)
        self._forget_old_lines(repo)
        repo.prove(self._group.lease)
        return repo

    def _clean(self, repo: WarmRepo) -> WarmRepo:
        """Finish a delete: clean the store below its seal, and forget the objects here."""
        state = repo.state
        clean(
            self._dependencies.store,
            self._layout,
            state.seal,
            state.ledger.lines(),
            self._dependencies.executor,
        )
        fresh = self._held.fresh(state)
        fresh.prove(self._group.lease)
        fresh.clean_seal = state.seal
        self._held.keep(fresh)
        return fresh

    # The draft

    def _draft(self, repo: WarmRepo) -> tuple[Draft, list[PendingOutcome]]:
        legacy = not repo.state.exists and self._journal.has_legacy_layout()
        draft = Draft(repo.state, repo.reader, legacy=legacy, limits=self._dependencies.limits)
        return draft, [self._settle(request, draft) for request in self._group.requests]

    def _settle(self, request: Request, draft: Draft) -> PendingOutcome:
        if isinstance(request, FindRequestRequest):
            return draft.view_with(request.wanted)
        if not request.MUTATES:
            return draft.view
        known = draft.settled(request.request_id)
        if known is not None:
            return known if known.digest == request.digest else _another_request(request)
        if abs(self._dependencies.clock() - request.enqueued_at) > self._dependencies.horizon_s:
            # Settled by an entry like any other verdict: an earlier attempt's create may still be under way.
            line = _expired(request, self._dependencies.horizon_s)
        else:
            line = settle(request, draft, self._agent)
        if draft.begun or draft.is_needed or not isinstance(line.error, RepoNotFoundError):
            draft.settle(line)
        else:
            # A journal that was never begun is not begun by asking for it. If something later in the group begins it
            # after all, then what failed before that must fail again when seen again.
            draft.defer_failure(line)
        return line

    # The append

    def _publish(self, repo: WarmRepo, draft: Draft) -> bool:
        """Append the draft; False when another writer took the number."""
        data = draft.encode()
        seq = repo.state.seq + 1
        try:
            outcome = append(self._dependencies.store, self._layout.entry(seq), data)
        except BaseException:
            repo.doubt()
            raise
        if outcome is Append.LOST:
            self._dependencies.observer.count("journal.lost")
            repo.doubt()
            return False
        self._dependencies.observer.count("journal.appended")
        repo.install(seq, data, draft.objects, draft.refs, draft.lines.values())
        repo.prove(self._group.lease)
        self._held.keep(repo)
        return True

    # The answers

    def _outcome(self, request: Request, pending: PendingOutcome, repo: WarmRepo) -> Outcome:
        if isinstance(pending, MemoryRepoError):
            return pending
        try:
            if isinstance(pending, View):
                return Success(answer(request, pending, repo, self._agent, self._dependencies.limits))
            return pending.error or Success(result_of(request, pending, repo))
        except MemoryRepoError as error:
            return error

    def _finish(self, repo: WarmRepo) -> None:
        """Do what must be done before anything is told: a delete is over when its bytes are gone."""
        if repo.needs_cleaning:
            repo = self._clean(repo)
        if not repo.state.begun:
            self._held.drop()
        elif repo.is_full:
            self._forget_old_lines(repo)
            self._save(repo)

    def _save(self, repo: WarmRepo) -> None:
        """Write what waits in memory; if the disk does not take it, do without the local copy."""
        try:
            repo.save()
        except OSError:
            self._dependencies.observer.count("cache.failed")
            self._held.drop()

    def _forget_old_lines(self, repo: WarmRepo) -> None:
        repo.state.ledger.forget(self._dependencies.clock(), self._dependencies.horizon_s)


def _another_request(request: Request) -> InvalidRequestError:
    return InvalidRequestError.of(
        "request_id", f"{request.request_id} was used for another request of this agent: choose a new one"
    )


def _expired(request: Request, horizon_s: float) -> LedgerLine:
    error = RequestExpiredError(
        f"the request was enqueued more than {horizon_s / 3600:.0f} h away from now, so it was not executed: "
        "look into the history, then send it anew",
        {"request_id": request.request_id, "enqueued_at": request.enqueued_at},
    )
    return LedgerLine.of_error(request.request_id, request.digest, request.enqueued_at, error)
