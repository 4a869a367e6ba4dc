"""One group that was begun: executed try by try, and told. Between the steps it holds no thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

from memrepo.clock import steady_clock
from memrepo.tracing.spans import AGENT, ORG
from memrepo.wire.requests.base import Request
from memrepo_worker.group import (
    Agent,
    GroupHandler,
    Outcome,
    RequestsEndedError,
    RequestsUnconfirmedError,
)
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer, Stopwatch, TurnTimes, measuring_store_waits
from memrepo_worker.scheduling.attempts import NOT_IN_THE_LEDGER, GroupAttempt, Pause, RetryRules
from memrepo_worker.tracing import GROUP, Attributes, TurnTrace, begin_turn
from memrepo_worker.trouble import WaitReason

logger = logging.getLogger(__name__)


class Ticket(Protocol):
    """A parked request. All methods but the properties are called from a borrowed thread."""

    @property
    def id(self) -> str:
        """The name under which the log speaks of it."""
        ...

    @property
    def agent(self) -> Agent:
        """Whose request it is."""
        ...

    @property
    def request(self) -> Request:
        """The request; only of tickets that ``Responder.begin`` has returned."""
        ...

    @property
    def at_hand(self) -> Request | None:
        """The request, where it can be had without asking anybody. It is the one that ``request`` is later."""
        ...

    @property
    def ends_group(self) -> bool:
        """Whether nothing after it may share its journal entry."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, roughly."""
        ...

    @property
    def trace_headers(self) -> Mapping[str, str]:
        """Which span it comes from, as its message says it; empty where it says none."""
        ...


AnyTicket = TypeVar("AnyTicket", bound=Ticket)


class Responder(Protocol[AnyTicket]):
    """Where tickets are answered: the mailbox tells it what becomes of them, a group at a time."""

    def begin(self, tickets: Sequence[AnyTicket]) -> Sequence[AnyTicket]:
        """Note that the requests are about to run; return those that still shall (not the cancelled), opened.

        Called again with the same tickets where it raised. Nothing of them is published or told before ``confirm``.
        """
        ...

    def confirm(self, tickets: Sequence[AnyTicket]) -> Sequence[AnyTicket]:
        """Make sure of what ``begin`` has noted; return those of its tickets that are to run (not the cancelled).

        Called once, or again where it raised.
        """
        ...

    def retrying(self, tickets: Sequence[AnyTicket], waiting: WaitReason) -> None:
        """Note that the requests wait, for what reason, and that they are tried again."""
        ...

    def prepare_answers(
        self, tickets: Sequence[AnyTicket], outcomes: Sequence[Outcome]
    ) -> Callable[[], None]:
        """Write what ``settle`` will tell of all requests of a group; what is returned may tell it ahead of that.

        It is called once the outcomes are certain, or never; ``settle`` is called after it all the same. Called again
        where the group is tried again.
        """
        ...

    def settle(self, tickets: Sequence[AnyTicket], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        """Tell the producers the outcomes, which took so long. The mailbox forgets the tickets."""
        ...

    def abandon(self, tickets: Sequence[AnyTicket]) -> None:
        """Take back requests that this process will not settle; somebody else will."""
        ...


class GroupUnderWay(Generic[AnyTicket]):
    """A group of one agent, from when it was taken out of the agent's line. Used by one thread at a time.

    Nothing that goes wrong in it lets a later request of the agent pass: what cannot be begun, executed or told is
    tried again, and what no try can do ends in a verdict.
    """

    def __init__(
        self,
        agent: Agent,
        tickets: Sequence[AnyTicket],
        handler: GroupHandler,
        responder: Responder[AnyTicket],
        rules: RetryRules,
        observer: Observer,
        following: Callable[[], Sequence[AnyTicket]] = lambda: (),
    ) -> None:
        """``following`` are the tickets that wait behind it; see ``Group``."""
        self.agent = agent
        self.tickets = tickets
        self._handler = handler
        self._responder = responder
        self._rules = rules
        self._observer = observer
        self._following = following
        self._running: Sequence[AnyTicket] = tickets
        self._confirmed = True
        self._attempt: GroupAttempt | None = None
        self._verdicts: list[Outcome] | None = None
        self._answered = 0
        self._faults = 0
        self._store_s = 0.0
        self._store_watch = Stopwatch()
        self._paused_s: float | None = None
        self._began_s: float | None = 0.0
        self._ended_s = 0.0
        self._trace: TurnTrace | None = None

    @property
    def in_hand(self) -> Sequence[AnyTicket]:
        """The tickets that are neither told nor dropped."""
        return self._running[self._answered :]

    @property
    def store_wait_s(self) -> float:
        """How long its thread waits for the store by now; 0 where it does not. From any thread."""
        return self._store_watch.under_way_s

    @property
    def store_waited_s(self) -> float:
        """How long its last try waited for the store."""
        return self._store_watch.seconds

    @property
    def is_over(self) -> bool:
        """Whether every request has its outcome, told or not."""
        return self._verdicts is not None or (self._attempt is not None and self._attempt.is_over)

    @property
    def lets_others_pass(self) -> bool:
        """Whether the agent's next group may begin: nothing that is to be told is remembered nowhere else."""
        return self.is_over and not any(isinstance(outcome, NOT_IN_THE_LEDGER) for outcome in self._untold)

    @property
    def is_turn_over(self) -> bool:
        """Whether the agents behind this one come first, before it goes on."""
        return not self.is_over and self._attempt is not None and self._attempt.is_turn_over

    @property
    def _untold(self) -> Sequence[Outcome]:
        if self._verdicts is not None:
            return self._verdicts
        return self._attempt.outcomes if self._attempt is not None else ()

    def execute(self) -> Pause | None:
        """Go on until there is something to tell, or a pause is due. Never raises."""
        self._end_pause()
        if self.is_over or self._untold:
            return None
        if self._began_s is None:
            self._began_s = steady_clock()
        self._trace = self._trace or self._begin_trace()
        try:
            if self._attempt is None:
                self._attempt = self._begin()
                self._faults = 0
            with measuring_store_waits() as waited, self._trace.active() if self._trace else nullcontext():
                self._store_watch = waited
                pause = self._advance()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not let others pass
            return self._after_fault_of_begin(error)
        self._store_s += waited.seconds
        self._note_end()
        if pause is not None:
            self._pause(pause)
        return pause

    def _begin_trace(self) -> TurnTrace | None:
        in_hand = self.in_hand
        about: Attributes = {ORG: self.agent.org_id, AGENT: self.agent.agent_id, GROUP: len(in_hand)}
        return begin_turn((ticket.trace_headers for ticket in in_hand), about)

    def _note_end(self) -> None:
        """Note when work ended; where something is to be told, the turn has."""
        self._ended_s = steady_clock()
        if self._trace is not None and (self.is_over or self._untold):
            self._trace.end()

    def tell(self) -> Pause | None:
        """Tell what has its outcome; a pause where that failed and has to be tried again. Never raises."""
        outcomes = self._untold
        tickets = self.in_hand[: len(outcomes)]
        if not tickets:
            return None
        times = TurnTimes(self._ended_s, self._store_s, self._began_s or 0.0, self._trace)
        try:
            self._responder.settle(tickets, outcomes, times)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the mailbox
            self._tell_fault(error)
            self._faults += 1
            if self._is_to_be_told_as_it_is(outcomes):
                return Pause(self._rules.pause_s(self._faults))
            self._faults = 0
            self._tell_one_by_one(tickets, outcomes, times)
        self._told(len(tickets))
        return None

    def _is_to_be_told_as_it_is(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether telling is tried again as it is: for ever what nothing else remembers, and the rest a few times.

        Where the group is over, its agent's next one may be under way already, and nothing waits for another try.
        """
        if any(isinstance(outcome, NOT_IN_THE_LEDGER) for outcome in outcomes):
            return True
        return not self.is_over and self._faults < self._rules.tries_max

    def _told(self, count: int) -> None:
        """Let go of what is told: results may be large."""
        self._answered += count
        self._store_s, self._began_s, self._trace = 0.0, None, None
        if self._verdicts is not None:
            del self._verdicts[:count]
        elif self._attempt is not None:
            self._attempt.told(count)

    def abandon(self) -> None:
        """Note that somebody else settles what is in hand."""
        if self._trace is not None:
            self._trace.end()
        if self._attempt is not None:
            self._attempt.abandon()

    def _begin(self) -> GroupAttempt:
        running = self._responder.begin(self.tickets)
        self._running = running
        if running:
            self._observer.count("mailbox.groups")
            self._observer.count("mailbox.requests", len(running))
        self._confirmed = False
        return self._new_attempt()

    def _new_attempt(self) -> GroupAttempt:
        requests = tuple(ticket.request for ticket in self._running)
        return self._rules.begin(
            self.agent, requests, self._confirm, self._prepare_answers, self._following_requests
        )

    def _following_requests(self) -> list[Request]:
        """Return what waits behind it, up to the first request that is not at hand."""
        at_hand = (ticket.at_hand for ticket in self._following())
        return [request for request in takewhile(lambda one: one is not None, at_hand) if request is not None]

    def _prepare_answers(self, outcomes: Sequence[Outcome]) -> Callable[[], None]:
        """Have what is told of the whole group prepared; parts of one are told by ``tell`` alone."""
        if self._answered or len(outcomes) != len(self._running):
            return _tell_nothing
        return self._responder.prepare_answers(self._running, outcomes)

    def _advance(self) -> Pause | None:
        """Try what is to run; where some of it turns out to be over, the rest from the beginning."""
        while self._running and self._attempt is not None:
            try:
                return self._attempt.advance(self._handler)
            except RequestsEndedError:
                self._attempt = self._new_attempt()
        self._verdicts = []
        return None

    def _confirm(self) -> None:
        if self._confirmed or not self._running:
            return
        begun = self._running
        try:
            self._running = self._responder.confirm(begun)
        except Exception as error:
            # No fault of one request: none gets a verdict while others of its group may be dropped.
            raise RequestsUnconfirmedError(f"{len(begun)} requests of {self.agent}") from error
        self._confirmed, self._faults = True, 0
        if len(self._running) < len(begun):
            raise RequestsEndedError

    def _after_fault_of_begin(self, error: Exception) -> Pause | None:
        self._tell_fault(error)
        self._faults += 1
        if self._faults < self._rules.tries_max:
            return Pause(self._rules.pause_s(self._faults))
        self._faults = 0
        self._verdicts = [self._rules.gave_up(self.agent, ticket.id) for ticket in self._running]
        self._note_end()
        return None

    def _tell_one_by_one(
        self, tickets: Sequence[AnyTicket], outcomes: Sequence[Outcome], times: TurnTimes
    ) -> None:
        """Tell each by itself; one that cannot be told as it is, is told to be a fault of ours.

        One that cannot be told even that is left to whoever owns the shard next, who finds its verdict in the ledger.
        """
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            if self._is_told(ticket, outcome, times):
                continue
            if not self._is_told(ticket, self._rules.gave_up(self.agent, ticket.id), times):
                self._responder.abandon([ticket])

    def _is_told(self, ticket: AnyTicket, outcome: Outcome, times: TurnTimes) -> bool:
        try:
            self._responder.settle([ticket], [outcome], times)
        except Exception as error:  # noqa: BLE001 - as above
            self._tell_fault(error)
            return False
        return True

    def _pause(self, pause: Pause) -> None:
        if pause.waiting is None:
            return
        self._paused_s = steady_clock()
        try:
            self._responder.retrying(self.in_hand, pause.waiting)
        except Exception as error:  # noqa: BLE001 - what it waits for is told with the next try
            self._tell_fault(error)

    def _end_pause(self) -> None:
        if self._paused_s is not None:
            self._store_s += steady_clock() - self._paused_s
            self._paused_s = None

    def _tell_fault(self, error: Exception) -> None:
        self._observer.count("mailbox.turns.failed")
        ids = [ticket.id for ticket in self.in_hand]
        message = f"a turn of {self.agent} failed; its requests keep their place: {', '.join(ids)}"
        fields = {"agent": str(self.agent), "request_ids": ids, "requests": len(ids)}
        log(logger, logging.ERROR, "turn.fault", message, fields, error)


def _tell_nothing() -> None:
    """Leave it to ``tell``."""
