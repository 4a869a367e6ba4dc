"""Which turns have a thread now, which of them hang at the store, and for whom threads are kept free."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic

from memrepo_worker.group import Agent
from memrepo_worker.scheduling.places import Places
from memrepo_worker.scheduling.under_way import AnyTicket, GroupUnderWay

HANGS_S = 0.5
_PROVEN_MAX = 10_000


@dataclass(eq=False, frozen=True, slots=True)
class RunningTurn(Generic[AnyTicket]):
    """A group that has a thread, whether it was tried before, and whether its turn may be long."""

    group: GroupUnderWay[AnyTicket]
    is_retry: bool
    is_heavy: bool


class RunningTurns(Generic[AnyTicket]):
    """The turns that have a thread. Not thread-safe.

    Up to ``hanging_max`` of those that hang are not counted against ``turns_max``. An agent is proven by a turn that
    ended well; whether the store of any other answers is not known, so their first tries have no more than a quarter of
    the threads, and those that are not counted. 0 turns both off. The others that are neither heavy nor tried again
    have ``places``.
    """

    def __init__(self, turns_max: int, hanging_max: int) -> None:
        self.places: Places[AnyTicket] = Places(turns_max)
        self._turns_max = turns_max
        self.hanging_max = hanging_max
        self._unproven_max = max(1, turns_max // 4) + hanging_max if hanging_max else math.inf
        self._running: set[RunningTurn[AnyTicket]] = set()
        self._hanging: set[RunningTurn[AnyTicket]] = set()
        self._too_many: set[RunningTurn[AnyTicket]] = set()
        self._unproven: set[RunningTurn[AnyTicket]] = set()
        self._proven: OrderedDict[Agent, None] = OrderedDict()

    @property
    def threads_max(self) -> int:
        """How many threads there may be now: those of the turns, and of what may begin."""
        return min(self._turns_max + self.hanging, len(self._running) + self.places.free)

    @property
    def hanging(self) -> int:
        """How many turns hang, as far as they were seen, and are not counted."""
        return len(self._hanging)

    def may_begin(self, agent: Agent) -> bool:
        """Whether this agent may have a thread now, if there is one."""
        return agent in self._proven or self.has_room_for_unproven

    @property
    def has_room_for_unproven(self) -> bool:
        """Whether an agent may have one of which nothing is known."""
        return len(self._unproven) < self._unproven_max

    def begin(self, turn: RunningTurn[AnyTicket]) -> None:
        """Note that a turn has a thread."""
        self._running.add(turn)
        if turn.is_retry:
            return
        if turn.group.agent not in self._proven:
            self._unproven.add(turn)
        elif not turn.is_heavy:
            self.places.begin(turn.group)

    def end(self, turn: RunningTurn[AnyTicket], used_s: float, *, well: bool) -> None:
        """Note that a turn has none any more, and how long a processor worked for it.

        ``well``: its group need not be tried again.
        """
        for some in (self._running, self._hanging, self._too_many, self._unproven):
            some.discard(turn)
        self.places.end(turn.group, used_s, well=well)
        agent = turn.group.agent
        self._proven.pop(agent, None)
        if well:
            self._proven[agent] = None
            if len(self._proven) > _PROVEN_MAX:
                self._proven.popitem(last=False)

    def look(self) -> tuple[int, int]:
        """Find out which turns wait for long, or hang; return how many more hang, and how many more are too many."""
        self.places.look()
        new = [turn for turn in self._running - self._hanging if turn.group.store_wait_s >= HANGS_S]
        room = self.hanging_max - len(self._hanging)
        self._hanging.update(new[:room])
        too_many = set(new[room:]) - self._too_many
        self._too_many |= too_many
        return len(new[:room]), len(too_many)
