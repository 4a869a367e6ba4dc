"""Which turns are heavy, and when one may begin: so that whoever uses a worker much leaves time for the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic

from memrepo.clock import Clock, steady_clock
from memrepo.limits import MIB
from memrepo_worker.group import Agent
from memrepo_worker.scheduling.turns import RunningTurn
from memrepo_worker.scheduling.under_way import AnyTicket, Ticket
from memrepo_worker.threads.giving_way import REST_RATIO, Pace, SendingRate

HEAVY_REQUESTS = 16
HEAVY_BYTES = MIB
"""A group of so many requests, or that weighs so much, may compute for longer than a small commit takes in all."""

SHARE = 0.1
BURST_S = 0.05
"""An agent is heavy, too, whose turns have used more of a processor than this share, and so many seconds on top."""

LIGHT_S = 0.02
"""A turn that seemed light makes rests, too, once it has computed for so long."""

SHARED_S = 0.25
"""How long after the last light turn the next is expected."""

REST_S_MAX = 2.0
"""While light turns come, none that is heavy begins until the last has been over for this many times what it used."""

_AGENTS_MAX = 10_000


class FairShare(Generic[AnyTicket]):
    """Keeps account of what turns use. Not thread-safe.

    While light turns come, one heavy turn computes at a time, and then rests. Waiting for the store is no computing.
    While none does, nothing is held back.
    """

    def __init__(self, clock: Clock = steady_clock) -> None:
        self._clock = clock
        self._used: OrderedDict[Agent, tuple[float, float]] = OrderedDict()
        self._heavy: set[RunningTurn[AnyTicket]] = set()
        self._light_s = float("-inf")
        self._rest_until_s = float("-inf")
        self._rate = SendingRate()

    def is_heavy(self, agent: Agent, tickets: Sequence[Ticket]) -> bool:
        """Tell by what waits, or by what the agent has used lately, whether its turn may be long."""
        if len(tickets) >= HEAVY_REQUESTS or sum(ticket.size_bytes for ticket in tickets) >= HEAVY_BYTES:
            return True
        return self._used_s(agent) > BURST_S

    @property
    def has_room(self) -> bool:
        """Whether another heavy turn may begin."""
        if not self.is_shared:
            return True
        if any(turn.group.store_wait_s == 0 for turn in self._heavy):
            return False
        return self._clock() >= self._rest_until_s

    @property
    def is_shared(self) -> bool:
        """Whether light turns come. From any thread."""
        return self._clock() - self._light_s < SHARED_S

    def begin(self, turn: RunningTurn[AnyTicket]) -> None:
        """Note that a turn has begun."""
        if turn.is_heavy:
            self._heavy.add(turn)
        else:
            self._light_s = self._clock()

    def pace(self, turn: RunningTurn[AnyTicket]) -> Pace:
        """Return the pace that a turn's thread has to keep."""
        return Pace(lambda: self.is_shared, grace_s=0.0 if turn.is_heavy else LIGHT_S, rate=self._rate)

    def end(self, turn: RunningTurn[AnyTicket], used_s: float, rested_s: float = 0.0) -> None:
        """Note that a turn is over, how long a processor worked for it, and how long it has rested meanwhile."""
        agent, now_s = turn.group.agent, self._clock()
        self._used[agent] = (self._used_s(agent) + used_s, now_s)
        self._used.move_to_end(agent)
        if len(self._used) > _AGENTS_MAX:
            self._used.popitem(last=False)
        if turn.is_heavy:
            self._heavy.discard(turn)
            self._rest_until_s = max(
                self._rest_until_s, now_s + min(REST_RATIO * used_s - rested_s, REST_S_MAX)
            )
        else:
            self._light_s = now_s

    def _used_s(self, agent: Agent) -> float:
        used_s, at_s = self._used.get(agent, (0.0, 0.0))
        return max(0.0, used_s - SHARE * (self._clock() - at_s))
