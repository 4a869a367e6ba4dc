"""One group's turn at its agent's repository.

bring the warm repository up to date, unless it is known to be
→ draft the next entry: every mutating request in order, each read noting the refs it found
→ append it by one conditional create; lost to a rival? take in what won, and draft anew
→ install it, finish what a delete began, and answer
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from memrepo.errors import MemoryRepoError
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo.wire.requests.reads import FindRequestRequest
from memrepo_worker.git.pack_files import move_packs
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.cache import HeldRepo
from memrepo_worker.repos.draft import Ahead, Draft, PendingOutcome, View
from memrepo_worker.repos.state import sha256_of
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.drafts.ahead import AHEAD_AGE_S_MAX, draft_ahead
from memrepo_worker.service.drafts.drafting import Drafting
from memrepo_worker.service.forks.copies import Copies
from memrepo_worker.service.meter import TurnMeter
from memrepo_worker.service.opening import Opener, ServiceDependencies
from memrepo_worker.service.prepared import Prepared
from memrepo_worker.service.reads import answer
from memrepo_worker.service.results import result_of
from memrepo_worker.service.store_reads.changes import changes_since, is_ahead
from memrepo_worker.store.content import Content
from memrepo_worker.store.meanwhile import IsAnswered, meanwhile
from memrepo_worker.threads.giving_way import give_way
from memrepo_worker.tracing import step


@dataclass(frozen=True, slots=True)
class Place:
    """What a read found that is answered in a later turn; it is there still unless there is another ``seal``."""

    seal: int
    view: View


class Turn:
    """Settles one group while it holds the agent's place in the cache."""

    def __init__(self, dependencies: ServiceDependencies, held: HeldRepo, group: Group) -> None:
        self._dependencies = dependencies
        self._held = held
        self._group = group
        self._agent: Agent = group.agent
        self._layout = Layout.of(group.agent.org_id, group.agent.agent_id)
        self._opener = Opener(dependencies, held, self._layout, group.lease, group.confirm)
        self._copies = Copies(dependencies, held, group.lease)
        self._drafting = Drafting(dependencies, group.agent, self._copies.copy)
        self._meter: TurnMeter
        self._prepared: Prepared | None = None
        writes = [request.MUTATES for request in group.requests]
        self._proof_age_s_max = math.inf if all(writes) else dependencies.tip_proof_s
        self._check_age_s_max = dependencies.journal_check_s if any(writes) else math.inf

    def take(self) -> Sequence[Outcome]:
        """Settle the requests, as many as a turn may take; see ``GroupHandler`` for what callers may rely on."""
        with self._copies:
            return self._take()

    def _take(self) -> Sequence[Outcome]:
        repo = self._current(self._proof_age_s_max)
        if not repo.state.begun and not any(request.MUTATES for request in self._group.requests):
            self._opener.require_room()
        if any(is_ahead(request, repo) for request in self._group.requests):
            repo = self._current(0.0)
        draft, pending = self._draft(repo)
        while draft.is_needed and not self._publish(repo, draft, pending):
            taken = repo.state.seq + 1
            repo = self._current(self._proof_age_s_max)
            if repo.state.seq < taken:
                raise JournalDamagedError(f"entry {taken} is taken, and no listing shows it", taken)
            draft, pending = self._draft(repo)
        self._group.confirm()
        with step("git answer"):
            outcomes = self._answer(pending, repo)
        if len(outcomes) < len(self._group.requests) and self._meter.is_over:
            self._meter.count_over()
        self._finish(repo)
        return outcomes

    def _current(self, proof_age_s_max: float) -> WarmRepo:
        """Return the repository at the journal's newest entry; the turn's time begins when it is there.

        Opening it is bounded by itself. Were it counted, a memory that opens slowly would be opened anew for each of
        its requests where no copy of it can be kept.
        """
        repo = self._opener.current(proof_age_s_max, self._check_age_s_max)
        self._group.create.settle(repo.state.seq)
        self._meter = self._new_meter()
        return repo

    def _new_meter(self) -> TurnMeter:
        return TurnMeter(self._dependencies.bounds, self._dependencies.monotonic, self._dependencies.observer)

    # The draft

    def _draft(self, repo: WarmRepo) -> tuple[Draft, list[PendingOutcome]]:
        ahead, repo.ahead = repo.ahead, None
        with step("git draft"):
            if ahead is not None and self._is_good(ahead, repo):
                self._dependencies.observer.count("drafts.ahead")
                ahead.draft.go_on(self._drafting.copy_for)
                return ahead.draft, self._drafted(ahead.draft, repo.state.seal, ahead.pending)
            legacy = not repo.state.exists and self._opener.has_legacy_layout()
            draft = self._drafting.begin(
                repo.state, repo.ledger, repo.reader, repo.delta_depths, legacy=legacy
            )
            return draft, self._drafted(draft, repo.state.seal, [])

    def _is_good(self, ahead: Ahead, repo: WarmRepo) -> bool:
        is_young = self._dependencies.monotonic() - ahead.made_s <= AHEAD_AGE_S_MAX
        return is_young and ahead.is_of(repo.state, self._group.requests)

    def _drafted(self, draft: Draft, seal: int, pending: list[PendingOutcome]) -> list[PendingOutcome]:
        """Settle the requests that are left of the group; return what became of all."""
        for request in self._group.requests[len(pending) :]:
            if pending and self._may_stop and self._meter.is_time_over:
                break
            # As it was at each earlier try of the same requests, so none of the others was in it.
            if draft.is_full:
                self._dependencies.observer.count("ledger.entry_full")
                break
            give_way()
            pending.append(self._settle(request, draft, seal))
        return pending

    @property
    def _may_stop(self) -> bool:
        """Whether requests may be left for a later turn.

        Not while an entry of all of them may be on its way to the store. (What reads have found stays until then, as
        a delete is alone in its group.)
        """
        return not self._group.create.may_land

    def _settle(self, request: Request, draft: Draft, seal: int) -> PendingOutcome:
        if not request.MUTATES:
            place = self._group.places.find(request)
            if isinstance(place, Place) and place.seal == seal:  # else what was found was deleted since
                return place.view
            return draft.view_with(request.wanted) if isinstance(request, FindRequestRequest) else draft.view
        return self._drafting.settle(request, draft, may_land=self._group.create.may_land)

    # The append

    def _publish(self, repo: WarmRepo, draft: Draft, pending: Sequence[PendingOutcome]) -> bool:
        """Append the draft; False when another writer took the number."""
        with step("git pack"):
            data = draft.encode()
        prepared = Prepared(repo, draft, self._dependencies.monotonic)
        seq = repo.state.seq + 1
        self._group.confirm()
        self._dependencies.check_store()
        if repo.state.seal and draft.refs and not repo.state.exists:
            self._opener.require_beginning(repo)
        self._group.create.begin(seq)
        began_s = self._dependencies.monotonic()
        try:
            with meanwhile(partial(self._work_meanwhile, prepared, repo, draft, pending)):
                outcome = append(self._dependencies.store, self._layout.entry(seq), data)
        except BaseException:
            repo.trust = repo.trust.doubted()
            raise
        self._group.create.settle(seq)
        if outcome is Append.LOST:
            self._dependencies.observer.count("journal.lost")
            repo.trust = repo.trust.doubted()
            return False
        self._dependencies.observer.count("journal.appended")
        self._take_in(repo, seq, draft, data, prepared)
        repo.trust = repo.trust.proven(self._group.lease, began_s)
        prepared.publish()
        self._prepared = prepared
        self._held.keep(repo)
        self._dependencies.appended(self._agent, seq, data if isinstance(data, bytes) else None)
        return True

    def _work_meanwhile(
        self,
        prepared: Prepared,
        repo: WarmRepo,
        draft: Draft,
        pending: Sequence[PendingOutcome],
        is_answered: IsAnswered,
    ) -> None:
        """Do what can be done while the store is waited for. Never raises."""
        prepared.compose(self._group, pending)
        prepared.ahead = draft_ahead(self._drafting, repo, draft, self._group.following, is_answered)

    def _take_in(self, repo: WarmRepo, seq: int, draft: Draft, data: Content, prepared: Prepared) -> None:
        """Tell of what was published, and have the warm repository take it in."""
        try:
            prepared.tell()  # before all that only the next turn needs
            self._install(repo, seq, data, draft)
        except BaseException:
            self._held.drop()  # it lags behind what is published: the next try opens it anew
            raise

    def _install(self, repo: WarmRepo, seq: int, data: Content, draft: Draft) -> None:
        """Have the repository take in what was published; of a copy git has made the index already."""
        objects = draft.objects
        if draft.copied is not None:
            move_packs(draft.copied.indexed, repo.path / "objects")
            repo.packs.refresh()
            repo.measure_again()
            objects = {**objects, **draft.copied.objects}
        sha256, lines = sha256_of(data), draft.lines.values()
        repo.install(seq, sha256, objects, draft.refs, lines, draft.chains, draft.origin_sha)
        repo.reader.remember_made(draft.reader)

    # The answers

    def _answer(self, pending: Sequence[PendingOutcome], repo: WarmRepo) -> list[Outcome]:
        """Answer in order until the turn is over; of the reads that are left, keep what they found."""
        if self._prepared is not None and self._prepared.told is not None:
            return [*self._prepared.told]
        outcomes: list[Outcome] = []
        for request, left in zip(self._group.requests, pending, strict=False):
            if outcomes and self._may_stop and self._meter.is_over:
                break
            give_way()
            outcomes.append(self._outcome(request, left, repo))
            if isinstance(outcomes[-1], Success):
                self._meter.add(outcomes[-1].value)
        for request, left in list(zip(self._group.requests, pending, strict=False))[len(outcomes) :]:
            if isinstance(left, View):
                self._group.places.keep(request, Place(repo.state.seal, left))
        return outcomes

    def _outcome(self, request: Request, pending: PendingOutcome, repo: WarmRepo) -> Outcome:
        if isinstance(pending, MemoryRepoError):
            return pending
        try:
            if isinstance(pending, View):
                with self._drafting.bounded_walk(repo.reader, self._new_meter().require_read_time):
                    if isinstance(request, GetChangesRequest):  # it is the journal that answers
                        return Success(changes_since(request, repo, self._opener.journal))
                    return Success(answer(request, pending, repo, self._agent, self._dependencies.limits))
            return pending.error or self._prepared_for(pending) or Success(result_of(request, pending, repo))
        except MemoryRepoError as error:
            return error

    def _prepared_for(self, line: LedgerLine) -> Success | None:
        return self._prepared.find(line) if self._prepared is not None else None

    def _finish(self, repo: WarmRepo) -> None:
        """Do what must be done before anything is told: a delete is over when its bytes are gone."""
        if repo.needs_cleaning:
            repo = self._opener.clean(repo)
        if not repo.state.begun:
            self._held.drop()
        elif repo.is_overfull or (repo.is_full and not self._group.following()):
            # What waits behind this group would wait for the disk, too; the last turn of a burst has nobody waiting.
            self._opener.forget_old_lines(repo)
            self._save(repo)

    def _save(self, repo: WarmRepo) -> None:
        """Write what waits in memory; if the disk does not take it, do without the local copy."""
        try:
            repo.save()
        except (
            OSError,
            WarmRepoDamagedError,
        ):  # the next turn opens it anew, and tells what keeps it from that
            self._dependencies.observer.count("cache.failed")
            self._held.drop()
