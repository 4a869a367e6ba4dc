"""Per-agent order and groups: parked requests wait here for their agent's turn.

Knows no Celery. A ticket is one parked request together with whoever must be told what became of it. Parked
requests hold no thread: threads are borrowed through ``submit``, one per turn under way and never more than
``turns_max``. After a turn the agent goes to the end of the line.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from memrepo.clock import steady_clock
from memrepo.limits import MIB
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, GroupHandler, Outcome
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer, TurnTimes, measuring_store_waits
from memrepo_worker.scheduling.attempts import Attempts, StoppedError
from memrepo_worker.trouble import WaitReason


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
    def ends_group(self) -> bool:
        """Whether nothing after it may share its journal entry."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, roughly."""
        ...


logger = logging.getLogger(__name__)

AnyTicket = TypeVar("AnyTicket", bound=Ticket)


class Responder(Protocol[AnyTicket]):
    """Where tickets are answered: the mailbox tells it what becomes of them, a group at a time."""

    def begin(self, tickets: Sequence[AnyTicket]) -> Sequence[AnyTicket]:
        """Note that the requests are about to run; return those that still shall (not the cancelled), opened."""
        ...

    def retrying(self, tickets: Sequence[AnyTicket], waiting: WaitReason) -> None:
        """Note that the store is unavailable, for what reason, and that the requests are tried again."""
        ...

    def settle(self, tickets: Sequence[AnyTicket], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        """Tell the producers the outcomes, which took so long. The mailbox forgets the tickets."""
        ...

    def abandon(self, tickets: Sequence[AnyTicket]) -> None:
        """Take back requests that this process will not settle; somebody else will."""
        ...


@dataclass(frozen=True, slots=True)
class MailboxBounds:
    """How much the mailbox takes at once.

    A group always holds at least one request, however big. ``parked_bytes_max`` is where the mailbox is full.
    """

    group_requests_max: int = 128
    group_bytes_max: int = 32 * MIB
    parked_bytes_max: int = 256 * MIB
    turns_max: int = 16


class Mailbox(Generic[AnyTicket]):
    """The FIFO of every agent that this process serves.

    ``park`` may be called from one thread at a time (that gives the order); everything else from any thread.
    ``on_room`` is called when the mailbox was full and is not any more.
    """

    def __init__(
        self,
        handler: GroupHandler,
        responder: Responder[AnyTicket],
        *,
        attempts: Attempts,
        submit: Callable[[Callable[[], None]], object],
        observer: Observer,
        bounds: MailboxBounds | None = None,
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self._handler = handler
        self._responder = responder
        self._attempts = attempts
        self._submit = submit
        self._observer = observer
        self._bounds = bounds or MailboxBounds()
        self._on_room = on_room
        self._changed = threading.Condition()
        self._waiting: dict[Agent, deque[AnyTicket]] = {}
        self._line: deque[Agent] = deque()
        self._busy: set[Agent] = set()
        self._unsettled: dict[Agent, int] = {}
        self._turns = 0
        self._bytes = 0
        self._stopping = False

    @property
    def full(self) -> bool:
        """Whether the requests in memory weigh as much as they may; then nothing more should be taken in."""
        return self._bytes >= self._bounds.parked_bytes_max

    def park(self, ticket: AnyTicket) -> None:
        """Put a request behind the other requests of its agent."""
        agent = ticket.agent
        with self._changed:
            self._unsettled[agent] = self._unsettled.get(agent, 0) + 1
            self._bytes += ticket.size_bytes
            waiting = self._waiting.get(agent)
            if waiting is not None:
                waiting.append(ticket)
            else:
                self._waiting[agent] = deque((ticket,))
                if agent not in self._busy:
                    self._line.append(agent)
            borrow = self._reserve_slot()
        if borrow:
            self._submit(self._work)

    def unsettled(self, agents: Callable[[Agent], bool]) -> int:
        """Count the requests of these agents that are parked, running or being answered."""
        with self._changed:
            return self._count(agents)

    def drain(self, agents: Callable[[Agent], bool], timeout_s: float) -> bool:
        """Wait until nothing of these agents is in the mailbox; return whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count(agents) == 0, timeout_s)

    def withdraw(self, agents: Callable[[Agent], bool]) -> list[AnyTicket]:
        """Take the waiting requests of these agents out, each agent's in order; what is running goes on."""
        with self._changed:
            leaving = [agent for agent in self._waiting if agents(agent)]
            taken = [ticket for agent in leaving for ticket in self._waiting.pop(agent)]
            self._line = deque(agent for agent in self._line if agent in self._waiting)
        self._forget(taken)
        return taken

    def stop(self) -> None:
        """Begin no further turn, and end the waiting of turns that are waiting for the store. Final."""
        with self._changed:
            self._stopping = True
        self._attempts.stop()

    def _reserve_slot(self) -> bool:
        """Count one more turn if there is work and room for it. The caller holds the lock."""
        if self._stopping or not self._line or self._turns >= self._bounds.turns_max:
            return False
        self._turns += 1
        return True

    def _work(self) -> None:
        """Take turns until the line is empty."""
        while (turn := self._next_turn()) is not None:
            try:
                self._serve(*turn)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the mailbox
                self._observer.count("mailbox.turns.failed")
                _tell_fault(error, *turn)

    def _serve(self, agent: Agent, tickets: list[AnyTicket]) -> None:
        try:
            try:
                answer = self._run(agent, tickets)
            finally:
                self._leave(agent)  # before the answer: the next group may run while producers are told
            answer()
        finally:
            self._forget(tickets)

    def _next_turn(self) -> tuple[Agent, list[AnyTicket]] | None:
        with self._changed:
            if self._stopping or not self._line:
                self._turns -= 1
                self._changed.notify_all()
                return None
            agent = self._line.popleft()
            self._busy.add(agent)
            return agent, self._take_group(agent)

    def _take_group(self, agent: Agent) -> list[AnyTicket]:
        waiting = self._waiting[agent]
        taken = [waiting.popleft()]
        size = taken[0].size_bytes
        while waiting and len(taken) < self._bounds.group_requests_max and not taken[-1].ends_group:
            size += waiting[0].size_bytes
            if size > self._bounds.group_bytes_max:
                break
            taken.append(waiting.popleft())
        if not waiting:
            del self._waiting[agent]
        return taken

    def _run(self, agent: Agent, tickets: list[AnyTicket]) -> Callable[[], None]:
        """Have a group executed, and return what remains to be done: telling about it."""
        running = self._responder.begin(tickets)
        if not running:
            return _nothing
        requests = tuple(ticket.request for ticket in running)
        self._observer.count("mailbox.groups")
        self._observer.count("mailbox.requests", len(running))
        try:
            with measuring_store_waits() as waited:
                outcomes = self._attempts.settle(
                    self._handler,
                    agent,
                    requests,
                    on_retry=lambda waiting: self._responder.retrying(running, waiting),
                )
        except StoppedError:
            return lambda: self._responder.abandon(running)
        times = TurnTimes(steady_clock(), waited.seconds)
        return lambda: self._responder.settle(running, outcomes, times)

    def _leave(self, agent: Agent) -> None:
        """Let the agent have another turn, at the end of the line."""
        with self._changed:
            self._busy.remove(agent)
            if agent in self._waiting:
                self._line.append(agent)
            borrow = self._reserve_slot()
        if borrow:
            self._submit(self._work)

    def _forget(self, tickets: Iterable[AnyTicket]) -> None:
        with self._changed:
            was_full = self.full
            for ticket in tickets:
                self._bytes -= ticket.size_bytes
                self._unsettled[ticket.agent] -= 1
                if not self._unsettled[ticket.agent]:
                    del self._unsettled[ticket.agent]
            self._changed.notify_all()
            has_room = was_full and not self.full
        if has_room:
            self._on_room()

    def _count(self, agents: Callable[[Agent], bool]) -> int:
        return sum(count for agent, count in self._unsettled.items() if agents(agent))


def _tell_fault(error: Exception, agent: Agent, tickets: Sequence[Ticket]) -> None:
    ids = [ticket.id for ticket in tickets]
    message = f"a turn of {agent} failed; its requests stay unacknowledged: {', '.join(ids)}"
    fields = {"agent": str(agent), "request_ids": ids, "requests": len(ids)}
    log(logger, logging.ERROR, "turn.fault", message, fields, error)


def _nothing() -> None:
    """There is nobody left to tell."""
