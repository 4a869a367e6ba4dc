"""How often a group is tried: for ever while the store is unavailable, on a fault a few times, then one by one.

A try that failed says when the next one is due; nobody waits for it here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from memrepo.clock import Backoff, system_clock
from memrepo.errors import MemoryDamagedError, RepoNotFoundError, WorkerFaultError, WorkerOutdatedError
from memrepo.wire.requests.base import Request
from memrepo_worker.group import (
    Agent,
    Group,
    GroupHandler,
    Lease,
    Outcome,
    PendingCreate,
    Places,
    PrepareAnswers,
    RequestsEndedError,
    RequestsUnconfirmedError,
    TurnGoesOnError,
)
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer
from memrepo_worker.store.interface import RefusedError, UnavailableError
from memrepo_worker.trouble import StoreTrouble, WaitReason

logger = logging.getLogger(__name__)

Requests = tuple[Request, ...]

NOT_IN_THE_LEDGER = (WorkerFaultError, WorkerOutdatedError, MemoryDamagedError, RepoNotFoundError)
"""Verdicts that nothing in the store remembers: until they are told, no later request of the agent may be begun."""

_IDS_SHOWN_MAX = 10
PARTED_PAUSE_S = 0.05
BACKOFF = Backoff(first_s=0.05, max_s=5.0, jitter=0.5)


@dataclass(frozen=True, slots=True)
class Pause:
    """When the next try is due, and what the requests wait for: None, after a fault of ours that may pass at once."""

    seconds: float
    waiting: WaitReason | None = None


@dataclass
class RetryRules:
    """Begins attempts; what all of them share. ``lease_of`` names the lease of an agent's shard at the time of a try.

    ``worker`` is its name, for who looks for its log. One log line tells of all agents that wait for the same reason.
    """

    lease_of: Callable[[Agent], Lease]
    random: Random
    observer: Observer
    backoff: Backoff = BACKOFF
    tries_max: int = 3
    worker: str = "the worker"
    trouble: StoreTrouble = field(default_factory=lambda: StoreTrouble(logger))

    def begin(
        self,
        agent: Agent,
        requests: Requests,
        confirm: Callable[[], None] = lambda: None,
        prepare_answers: PrepareAnswers = lambda _: lambda: None,
        following: Callable[[], Sequence[Request]] = lambda: (),
    ) -> GroupAttempt:
        """Begin to settle a group; nothing is tried yet. See ``Group`` for what it is given."""
        return GroupAttempt(self, agent, requests, confirm, prepare_answers, following)

    def pause_s(self, tries: int) -> float:
        """Return how long to wait after so many failed tries."""
        return self.backoff.pause_s(tries, self.random)

    def gave_up(self, agent: Agent, request_id: str) -> WorkerFaultError:
        """Return the verdict on a request that no try could execute; the id in it is what the log is searched for."""
        fields = {"agent": str(agent), "request_ids": [request_id], "requests": 1}
        log(logger, logging.ERROR, "request.given_up", f"gave up on {request_id} of {agent}", fields)
        return WorkerFaultError(
            f"request {request_id} failed inside the worker, {self.tries_max} times; look for {request_id} in the log "
            f"of {self.worker}",
            {"request_id": request_id, "worker": self.worker},
        )


class GroupAttempt:
    """One group on its way to its outcomes. Used by one thread at a time.

    A fault that is not the store's is tried ``tries_max`` times; then each request is tried alone, in order, and one
    that still fails gets a verdict that names its id, so that it does not block its agent: but none while an entry may
    still be on its way to the store that would make the verdict untrue.
    """

    def __init__(
        self,
        rules: RetryRules,
        agent: Agent,
        requests: Requests,
        confirm: Callable[[], None],
        prepare_answers: PrepareAnswers,
        following: Callable[[], Sequence[Request]],
    ) -> None:
        self._rules = rules
        self._agent = agent
        self._confirm = confirm
        self._prepare_answers = prepare_answers
        self._following = following
        self._parts: deque[Requests] = deque((requests,))
        self._create = PendingCreate()
        self._places = Places()
        self._faults = 0
        self._unavailable = 0
        self._parted_since_s = 0.0
        self.outcomes: list[Outcome] = []
        self.is_turn_over = False

    @property
    def is_over(self) -> bool:
        """Whether every request has its outcome."""
        return not self._parts

    def advance(self, handler: GroupHandler) -> Pause | None:
        """Try until all is settled, something is to be told first, or a pause is due; only the last returns one.

        ``outcomes`` are those that were not told yet. ``is_turn_over`` says that the rest is for another turn.

        Raises:
            RequestsEndedError: some of the requests are not to be executed; nothing was.
            RequestsUnconfirmedError: that is not known yet; nothing was executed.
        """
        self.is_turn_over = False
        while self._parts and not self.is_turn_over:
            requests = self._parts[0]
            try:
                outcomes = self._call(handler, requests)
            except (RequestsEndedError, RequestsUnconfirmedError):
                raise
            except TurnGoesOnError as more:
                return self._go_on_soon(more)
            except (UnavailableError, RefusedError) as error:
                return self._wait_for_store(requests, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the agent's queue
                if pause := self._after_fault(requests, error):
                    return pause
                if self._parts[0] is not requests:
                    continue  # one by one from here
                outcomes = [self._rules.gave_up(self._agent, requests[0].request_id)]
            self._settled(requests, outcomes)
            if any(isinstance(outcome, NOT_IN_THE_LEDGER) for outcome in outcomes):
                return None
        return None

    def told(self, count: int) -> None:
        """Let go of the first outcomes: they are told."""
        del self.outcomes[:count]

    def abandon(self) -> None:
        """Note that nothing is tried any more here."""
        self._rules.trouble.over(self._agent, answered=False)

    def _call(self, handler: GroupHandler, requests: Requests) -> Sequence[Outcome]:
        lease = self._rules.lease_of(self._agent)
        group = Group(
            self._agent,
            requests,
            lease,
            self._create,
            self._places,
            self._confirm,
            self._prepare_answers,
            self._following if len(self._parts) == 1 else lambda: (),
        )
        try:
            outcomes = handler(group)
        finally:
            self._confirm()  # however it ended: nothing is told of requests that nobody has marked
        if not 0 < len(outcomes) <= len(requests):
            raise ValueError(f"{len(outcomes)} outcomes for {len(requests)} requests")
        return outcomes

    def _settled(self, requests: Requests, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes
        self._parts.popleft()
        if rest := requests[len(outcomes) :]:
            self._parts.appendleft(rest)
            self.is_turn_over = True
        self._faults = self._unavailable = 0
        self._rules.trouble.over(self._agent)

    def _wait_for_store(self, requests: Requests, error: Exception) -> Pause:
        self._unavailable += 1
        self._rules.observer.count("mailbox.store.unavailable")
        return self._pause(requests, error)

    def _go_on_soon(self, more: TurnGoesOnError) -> Pause:
        """Let other agents come before the next part of a long work; what waits for it is told how far it is."""
        self._faults = self._unavailable = 0
        self._rules.trouble.over(self._agent)
        self._rules.observer.count("mailbox.turns.parted")
        self._parted_since_s = self._parted_since_s or system_clock()
        return Pause(max(PARTED_PAUSE_S, more.rest_s), WaitReason(str(more), self._parted_since_s))

    def _pause(self, requests: Requests, error: Exception) -> Pause:
        pause_s = self._rules.pause_s(self._faults + self._unavailable)
        return Pause(pause_s, self._rules.trouble.met(self._agent, len(requests), error, pause_s))

    def _after_fault(self, requests: Requests, error: Exception) -> Pause | None:
        """Return the pause before the next try; None after the last one, also where a group was parted then."""
        self._faults += 1
        tries_max = self._rules.tries_max
        self._tell_fault(error, requests)
        if self._faults < tries_max:
            return Pause(self._rules.pause_s(self._faults + self._unavailable))
        if len(requests) > 1:
            self._rules.observer.count("mailbox.groups.split")
            self._parts.popleft()
            self._parts.extendleft((request,) for request in reversed(requests))
            self._faults = 0
            return None
        if self._create.may_land:
            name = type(error).__name__
            return self._pause(
                requests, WorkerFaultError(f"a fault of the worker ({name}) after a lost answer")
            )
        return None

    def _tell_fault(self, error: Exception, requests: Requests) -> None:
        self._rules.observer.count("mailbox.faults")
        ids = [request.request_id for request in requests[:_IDS_SHOWN_MAX]]
        more = f" and {len(requests) - len(ids)} more" if len(requests) > len(ids) else ""
        tries = f"try {self._faults} of {self._rules.tries_max}"
        message = f"{tries} failed for {self._agent}: {', '.join(ids)}{more}"
        fields = {
            "agent": str(self._agent),
            "request_ids": ids,
            "requests": len(requests),
            "tries": self._faults,
        }
        log(logger, logging.WARNING, "request.fault", message, fields, error)
