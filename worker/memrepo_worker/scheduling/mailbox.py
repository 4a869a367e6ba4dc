"""Per-agent order and groups: parked requests wait here for their agent's turn.

Knows no Celery. A ticket is one parked request together with whoever must be told what became of it. Parked requests
hold no thread: threads are borrowed through ``submit``, one per turn under way and never more than ``turns_max``; how
many work at a time follows the work (``places``). After a turn the agent goes to the end of the line; where its next
turn is heavy, it comes when there is room for that (``fair_share``). A group whose try failed is set aside until its
next one is due, and keeps its agent's place. Tries at a store that does not answer may last: half of the threads at
most try again at a time; those that hang are not counted where all are taken, and some are kept for whom it answers.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from time import thread_time
from typing import Generic

from memrepo_worker.bounds import HANGING_TURNS, SharingBounds
from memrepo_worker.group import Agent, GroupHandler
from memrepo_worker.logs import log
from memrepo_worker.scheduling.attempts import Pause, RetryRules
from memrepo_worker.scheduling.borrowed_threads import BorrowedThreads
from memrepo_worker.scheduling.fair_share import FairShare
from memrepo_worker.scheduling.line import Line
from memrepo_worker.scheduling.lock_sharing import LockSharing
from memrepo_worker.scheduling.mailbox_bounds import MailboxBounds
from memrepo_worker.scheduling.timer import Soon, Timer
from memrepo_worker.scheduling.turns import RunningTurn, RunningTurns
from memrepo_worker.scheduling.under_way import AnyTicket, GroupUnderWay, Responder
from memrepo_worker.threads.giving_way import keeping

logger = logging.getLogger(__name__)

_LOOK_S = 0.02
_LOOK_FOR_ROOM_S = 0.01


class Mailbox(Generic[AnyTicket]):
    """The FIFO of every agent that this process serves.

    ``park`` may be called from one thread at a time (that gives the order); everything else from any thread.
    ``on_room`` is called when the mailbox was full and is not any more. ``is_ours`` says whether this process serves an
    agent still: what is to be tried again of others is abandoned.
    """

    def __init__(
        self,
        handler: GroupHandler,
        responder: Responder[AnyTicket],
        *,
        rules: RetryRules,
        submit: Callable[[Callable[[], None]], object],
        bounds: MailboxBounds | None = None,
        on_room: Callable[[], object] = lambda: None,
        is_ours: Callable[[Agent], bool] = lambda _: True,
        shares: FairShare[AnyTicket] | None = None,
    ) -> None:
        self._handler = handler
        self._responder = responder
        self._rules = rules
        self._threads = BorrowedThreads(submit, self._work)
        self._observer = rules.observer
        self._bounds = bounds or MailboxBounds()
        self._on_room = on_room
        self._is_ours = is_ours
        self._timer = Timer()
        self._look_later = Soon(self._timer, _LOOK_S, self._look)
        self._look_for_room_later = Soon(self._timer, _LOOK_FOR_ROOM_S, self._look_for_room)
        self._lock_sharing = LockSharing()
        self._changed = threading.Condition()
        self._waiting: dict[Agent, deque[AnyTicket]] = {}
        self._line = Line()
        self._busy: set[Agent] = set()
        self._answering: set[Agent] = set()
        self._unsettled: dict[Agent, int] = {}
        self._stalled: set[GroupUnderWay[AnyTicket]] = set()
        self._due: deque[GroupUnderWay[AnyTicket]] = deque()
        self._running: RunningTurns[AnyTicket] = RunningTurns(
            self._bounds.turns_max, self._bounds.hanging_max
        )
        self._shares: FairShare[AnyTicket] = shares or FairShare()
        self._stopping = False
        self._begun: dict[Agent, GroupUnderWay[AnyTicket]] = {}
        self._retries = self._bytes = 0

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
        self._threads.borrow(borrow)

    def unsettled(self, agents: Callable[[Agent], bool]) -> int:
        """Count the requests of these agents that are parked, running or being answered."""
        with self._changed:
            return self._count(agents)

    def drain(self, agents: Callable[[Agent], bool], timeout_s: float) -> bool:
        """Wait until nothing of these agents is in the mailbox; return whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count(agents) == 0, timeout_s)

    def withdraw(self, agents: Callable[[Agent], bool]) -> list[AnyTicket]:
        """Take the waiting requests of these agents out, each agent's in order; a try that is under way goes on.

        What waits for its next try is taken out, too.
        """
        with self._changed:
            stalled = [group for group in (*self._stalled, *self._begun.values()) if agents(group.agent)]
            begun = [ticket for group in stalled for ticket in self._take_out(group)]
            leaving = [agent for agent in self._waiting if agents(agent)]
            waiting = [ticket for agent in leaving for ticket in self._waiting.pop(agent)]
            self._line.keep(lambda agent: agent in self._waiting or agent in self._begun)
        self._forget([*(ticket for group in stalled for ticket in group.tickets), *waiting])
        return [*begun, *waiting]

    def stop(self) -> None:
        """Begin no further group, and give up what waits for its next try: it is abandoned. Final."""
        with self._changed:
            self._stopping = True
            stalled = [*self._stalled, *self._begun.values()]
        self._timer.stop()
        self._abandon(stalled)

    def _reserve_slot(self) -> bool:
        """Count one more thread if there is work and room for it. The caller holds the lock."""
        if self._stopping or not self._has_work:
            return False
        if self._threads.are_enough(len(self._line) + len(self._due)):
            return False
        if self._threads.count >= self._running.threads_max:
            self._look_later()
            return False
        self._threads.reserve()
        return True

    def _look(self) -> None:
        """Let others begin beside turns that wait for long, and have the threads of those that hang at the store."""
        with self._changed:
            more, too_many = self._running.look()
            for event, count in (("mailbox.turns.hanging", more), (HANGING_TURNS, too_many)):
                if count:
                    self._observer.count(event, count)
            self._line.hold_back(self._running.newly_in_doubt, but=self._begun)
            self._release_held()
            borrowed = sum(
                self._reserve_slot() for _ in range(self._running.threads_max - self._threads.count)
            )
            if (self._has_work or self._line.holds_unproven) and not self._stopping:
                self._look_later()
        self._threads.borrow(borrowed)

    @property
    def _has_work(self) -> bool:
        return bool(self._line) or (bool(self._due) and self._retries < self._bounds.retries_max)

    def _work(self) -> None:
        """Serve groups until none is left."""
        with self._changed:
            self._threads.note_arrival()
        while (turn := self._next_turn()) is not None:
            group, well, began_s, pace = turn.group, False, thread_time(), self._shares.pace(turn)
            pace.on_wait = partial(self._give_up_place, turn)
            try:
                with self._lock_sharing.serving(heavy=turn.is_heavy) as pace.on_long, keeping(pace):
                    well = self._serve(group)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the mailbox
                self._observer.count("mailbox.turns.failed")
                fields = {"agent": str(group.agent), "requests": len(group.tickets)}
                log(logger, logging.ERROR, "turn.fault", f"a turn of {group.agent} failed", fields, error)
            finally:
                with self._changed:
                    used_s = thread_time() - began_s
                    self._retries -= turn.is_retry
                    self._running.end(turn, used_s, well=well)
                    self._observer.measure("mailbox.turns.at_once", self._running.places.limit)
                    self._shares.end(turn, used_s, pace)
                    self._release_held()

    def _serve(self, group: GroupUnderWay[AnyTicket]) -> bool:
        """Take one group on as far as it goes; at a pause it is set aside until its next try, and False returned."""
        while True:
            pause = group.execute()
            if pause is not None:
                self._set_aside(group, pause)
                return False
            passed = group.lets_others_pass and self._leave_early(group.agent)
            pause = group.tell()
            if passed:
                self._answering.discard(group.agent)
            if pause is not None:
                self._set_aside(group, pause)
                return False
            if passed or group.is_over:
                break
            if group.is_turn_over:
                self._go_on_later(group)
                return True
        if not passed:
            self._leave(group.agent)
        self._forget(group.tickets)
        return True

    def _next_turn(self) -> RunningTurn[AnyTicket] | None:
        """Return what a thread serves next; None: nothing, and one thread less."""
        with self._changed:
            too_many = self._threads.count > self._running.threads_max
            turn = None if self._stopping or too_many else self._take_turn()
            if turn is None:
                self._threads.give_back()
                self._changed.notify_all()
                if too_many and self._has_work:
                    self._look_later()
                return None
            self._running.begin(turn)
            self._shares.begin(turn)
            borrow = self._reserve_slot()  # several that were held back may have been let go for one thread
        with suppress(RuntimeError):  # the pool is closing, or queued it: this turn is served all the same
            self._threads.borrow(borrow)
        return turn

    def _take_turn(self) -> RunningTurn[AnyTicket] | None:
        """Take out what is served next: a try that is due, else the first agent in line that may begin."""
        if self._due and self._retries < self._bounds.retries_max:
            group = self._due.popleft()
            self._stalled.remove(group)
            self._retries += 1
            heavy = self._is_heavy(group.agent, group.in_hand)
            return RunningTurn(group, is_retry=True, is_heavy=heavy)
        while self._line:
            agent = self._line.pop()
            begun = self._begun.get(agent)
            heavy = self._is_heavy(agent, self._waiting[agent] if begun is None else begun.in_hand)
            if heavy and not self._shares.has_room(agent):
                self._line.hold_heavy(agent)
                self._look_for_room_later()
                continue
            if begun is not None:
                del self._begun[agent]
                return RunningTurn(begun, is_retry=False, is_heavy=heavy)
            if not self._running.may_begin(agent):
                if self._running.is_full_of_unproven:
                    self._observer.count(HANGING_TURNS)
                self._line.hold_unproven(agent)
                self._look_later()
                continue
            self._busy.add(agent)
            tickets = self._bounds.group_of(self._waiting[agent])
            if not self._waiting[agent]:
                del self._waiting[agent]
            following = partial(self._following, agent)
            group = GroupUnderWay(
                agent, tickets, self._handler, self._responder, self._rules, self._observer, following
            )
            return RunningTurn(group, is_retry=False, is_heavy=heavy)
        return None

    def _following(self, agent: Agent) -> Sequence[AnyTicket]:
        """Return what an agent's next group would be now, where nobody else waits."""
        with self._changed:
            others = self._stopping or self._has_work or self._line.holds_heavy or self._line.holds_unproven
            return () if others else self._bounds.next_group(self._waiting.get(agent, ()))

    def _is_heavy(self, agent: Agent, tickets: Iterable[AnyTicket]) -> bool:
        """Tell whether an agent's turn that is to serve these may be long. The caller holds the lock."""
        return self._shares.is_heavy(agent, list(islice(tickets, SharingBounds.heavy_requests)))

    def _look_for_room(self) -> None:
        """See whether there is room for a heavy turn."""
        with self._changed:
            self._release_held()
            borrow = self._reserve_slot()
            if self._line.holds_heavy and not self._stopping:
                self._look_for_room_later()
        self._threads.borrow(borrow)

    def _release_held(self) -> None:
        """Let agents that are held back come, those for which there is room. The caller holds the lock."""
        if self._line.holds_heavy and self._shares.has_room():
            self._line.release_heavy()
        self._line.release_unproven(self._running.room_for_unproven, self._running.proofs_in_doubt)

    def _give_up_place(self, turn: RunningTurn[AnyTicket]) -> None:
        """Let others begin: a turn is going to wait for long."""
        with self._changed:
            self._running.places.give_up(turn.group)
            borrow = self._reserve_slot()
        self._threads.borrow(borrow)

    def _go_on_later(self, group: GroupUnderWay[AnyTicket]) -> None:
        """Have a group whose turn is over go on when its agent comes again, before what the agent sent after it."""
        with self._changed:
            self._begun[group.agent] = group
            self._line.append(group.agent)
            gone = self._stopping or not self._is_ours(group.agent)
        if gone:
            self._abandon([group])

    def _set_aside(self, group: GroupUnderWay[AnyTicket], pause: Pause) -> None:
        """Keep a group until its next try is due; no thread waits with it, and nothing of its agent passes it."""
        with self._changed:
            self._stalled.add(group)
            gone = self._stopping or not self._is_ours(group.agent)
        if gone:  # looked at after it was set aside: a hand-over either finds it there, or is seen here
            self._abandon([group])
        else:
            self._timer.after(pause.seconds, lambda: self._resume(group))

    def _resume(self, group: GroupUnderWay[AnyTicket]) -> None:
        with self._changed:
            if group not in self._stalled:
                return  # withdrawn meanwhile
            self._due.append(group)
            borrow = self._reserve_slot()
        self._threads.borrow(borrow)

    def _abandon(self, groups: Iterable[GroupUnderWay[AnyTicket]]) -> None:
        """Leave groups that wait for their next try to whoever owns their shard next."""
        for group in groups:
            with self._changed:
                if group not in self._stalled and self._begun.get(group.agent) is not group:
                    continue  # a hand-over was quicker
                tickets = self._take_out(group)
                borrow = self._reserve_slot()
            self._threads.borrow(borrow)
            try:
                self._responder.abandon(tickets)
            finally:
                self._forget(group.tickets)

    def _take_out(self, group: GroupUnderWay[AnyTicket]) -> Sequence[AnyTicket]:
        """Take a group out that waits for its next try; return its tickets. The caller holds the lock."""
        self._stalled.discard(group)
        self._due = deque(other for other in self._due if other is not group)
        if self._begun.pop(group.agent, None) is not None:
            self._line.remove(group.agent)
        self._busy.remove(group.agent)
        if group.agent in self._waiting:  # its shard was taken again meanwhile, and brought what comes after
            self._line.append(group.agent)
        group.abandon()
        return group.in_hand

    def _leave_early(self, agent: Agent) -> bool:
        """Let the agent have another turn while its producers are told of this one, unless of the one before, too.

        Returns whether it may: else who asks quicker than he is answered would have all threads.
        """
        with self._changed:
            if agent in self._answering:
                return False
            self._answering.add(agent)
        self._leave(agent)
        return True

    def _leave(self, agent: Agent) -> None:
        """Let the agent have another turn, at the end of the line."""
        with self._changed:
            self._busy.remove(agent)
            if agent in self._waiting:
                self._line.append(agent)
            borrow = self._reserve_slot()
        self._threads.borrow(borrow)

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
