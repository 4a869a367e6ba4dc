"""Which turns are heavy, and when one may begin: so that whoever uses a worker much leaves time for the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic

from memrepo.clock import Clock, steady_clock
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.group import Agent
from memrepo_worker.scheduling.turns import HANGS_S, RunningTurn
from memrepo_worker.scheduling.under_way import AnyTicket, Ticket
from memrepo_worker.threads.giving_way import Pace, Rates

_AGENTS_MAX = 10_000


class FairShare(Generic[AnyTicket]):
    """Keeps account of what turns use. Not thread-safe.

    While light turns of others come, one heavy turn computes at a time, and then rests. Waiting for the store is no
    computing. While none does, nothing is held back but what would take too much memory together.
    """

    def __init__(self, clock: Clock = steady_clock) -> None:
        self._clock = clock
        self._used: OrderedDict[Agent, tuple[float, float]] = OrderedDict()
        self._heavy: dict[RunningTurn[AnyTicket], int] = {}  # how much each weighs
        self._light_s = self._others_light_s = float("-inf")
        self._light_agent: Agent | None = None
        """Whose the last light turn was; ``_others_light_s`` is when the last of anybody else was."""
        self._rest_until_s = float("-inf")
        self._rates = Rates()

    def is_heavy(self, agent: Agent, tickets: Sequence[Ticket]) -> bool:
        """Tell by what waits, or by what the agent has used lately, whether its turn may be long."""
        size_bytes = sum(ticket.size_bytes for ticket in tickets)
        if len(tickets) >= SharingBounds.heavy_requests or size_bytes >= SharingBounds.heavy_bytes:
            return True
        return self._used_s(agent) > SharingBounds.heavy_burst_s

    def has_room(self, agent: Agent | None = None) -> bool:
        """Whether another heavy turn may begin: of this agent, or of any."""
        weight = sum(size for turn, size in self._heavy.items() if turn.group.store_wait_s < HANGS_S)
        if weight >= SharingBounds.heavy_at_once_bytes:
            return False
        if not self.is_shared(agent):
            return True
        if any(turn.group.store_wait_s == 0 for turn in self._heavy):
            return False
        return self._clock() >= self._rest_until_s

    def is_shared(self, agent: Agent | None = None) -> bool:
        """Whether light turns come, of others than this agent. From any thread."""
        last_s = self._others_light_s if agent is not None and agent == self._light_agent else self._light_s
        return self._clock() - last_s < SharingBounds.shared_s

    def _note_light(self, agent: Agent) -> None:
        if agent != self._light_agent:
            self._others_light_s, self._light_agent = self._light_s, agent
        self._light_s = self._clock()

    def begin(self, turn: RunningTurn[AnyTicket]) -> None:
        """Note that a turn has begun."""
        if turn.is_heavy:
            self._heavy[turn] = sum(ticket.size_bytes for ticket in turn.group.in_hand)
        else:
            self._note_light(turn.group.agent)

    def pace(self, turn: RunningTurn[AnyTicket]) -> Pace:
        """Return the pace that a turn's thread has to keep."""
        grace_s = 0.0 if turn.is_heavy else SharingBounds.light_s
        return Pace(lambda: self.is_shared(turn.group.agent), grace_s, self._rates)

    def end(self, turn: RunningTurn[AnyTicket], used_s: float, pace: Pace | None = None) -> None:
        """Note that a turn is over, how long a processor worked in its thread, and the pace that it kept."""
        agent, now_s = turn.group.agent, self._clock()
        rested_s = pace.rested_s if pace is not None else 0.0
        used_s += pace.used_elsewhere_s if pace is not None else 0.0
        counted_s = min(self._used_s(agent) + used_s, SharingBounds.heavy_account_s_max)
        self._used[agent] = (counted_s, now_s)
        self._used.move_to_end(agent)
        if len(self._used) > _AGENTS_MAX:
            self._used.popitem(last=False)
        if turn.is_heavy:
            self._heavy.pop(turn, None)
            rest_s = min(SharingBounds.rest_ratio * used_s - rested_s, SharingBounds.turn_rest_s_max)
            self._rest_until_s = max(self._rest_until_s, now_s + rest_s)
        else:
            self._note_light(agent)

    def _used_s(self, agent: Agent) -> float:
        used_s, at_s = self._used.get(agent, (0.0, 0.0))
        return max(0.0, used_s - SharingBounds.heavy_share * (self._clock() - at_s))
