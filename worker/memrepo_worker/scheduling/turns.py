"""Which turns have a thread now, which of them hang at the store, and for whom threads are kept free."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
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
    the threads, and those that are not counted; and until they are seen to hang, which takes a while, they leave a
    quarter to agents that are proven. 0 turns all of this off. The others that are neither heavy nor tried again have
    ``places``.

    What has answered once may hang. So where as many as a quarter of the threads hang though their agents were proven,
    these count as not proven, and a proof that is older than they are is in doubt: no more than the others may hang.
    """

    def __init__(self, turns_max: int, hanging_max: int) -> None:
        self.places: Places[AnyTicket] = Places(turns_max)
        self._turns_max = turns_max
        self.hanging_max = hanging_max
        self._many = quarter = max(1, turns_max // 4)
        self._unproven_max = quarter + hanging_max if hanging_max else sys.maxsize
        self._unseen_max = max(1, turns_max - quarter) if hanging_max else sys.maxsize
        self._running: dict[RunningTurn[AnyTicket], int] = {}
        """Each with its number: turns are counted as they begin."""
        self._count = self._doubted_until = 0
        self._doubts_more = False
        self._hanging: set[RunningTurn[AnyTicket]] = set()
        self._too_many: set[RunningTurn[AnyTicket]] = set()
        self._unproven: set[RunningTurn[AnyTicket]] = set()
        self._misled: set[RunningTurn[AnyTicket]] = set()
        """Those that hang though their agents were proven."""
        self._proven: OrderedDict[Agent, int] = OrderedDict()
        """Each with how many turns had begun by then."""

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
        return self.is_proven(agent) or self.room_for_unproven > 0

    def is_proven(self, agent: Agent) -> bool:
        """Whether this agent's store has answered, and later than what others hang at."""
        return self._proof_of(agent) >= self._doubted_until

    def _proof_of(self, agent: Agent) -> int:
        return self._proven.get(agent, -1)

    @property
    def newly_in_doubt(self) -> Callable[[Agent], bool] | None:
        """What tells agents that are not proven, or not any more; None where none came into doubt lately."""
        return (lambda agent: not self.is_proven(agent)) if self._doubts_more else None

    @property
    def proofs_in_doubt(self) -> Callable[[Agent], int] | None:
        """What tells how late an agent's store has answered, a number that rises; None where no proof is in doubt."""
        return self._proof_of if self._doubted_until else None

    @property
    def room_for_unproven(self) -> int:
        """How many more agents may have one of which nothing is known."""
        unseen = len(self._unproven - self._hanging)
        return min(self._unproven_max - len(self._unproven), self._unseen_max - unseen)

    @property
    def is_full_of_unproven(self) -> bool:
        """Whether as many of these as there may be have one, however many of them hang."""
        return len(self._unproven) >= self._unproven_max

    def begin(self, turn: RunningTurn[AnyTicket]) -> None:
        """Note that a turn has a thread."""
        self._count += 1
        self._running[turn] = self._count
        if turn.is_retry:
            return
        if not self.is_proven(turn.group.agent):
            self._unproven.add(turn)
        elif not turn.is_heavy:
            self.places.begin(turn.group)

    def end(self, turn: RunningTurn[AnyTicket], used_s: float, *, well: bool) -> None:
        """Note that a turn has none any more, and how long a processor worked for it.

        ``well``: its group need not be tried again.
        """
        self._running.pop(turn, None)
        for some in (self._hanging, self._too_many, self._unproven, self._misled):
            some.discard(turn)
        self.places.end(turn.group, used_s, well=well)
        agent = turn.group.agent
        self._proven.pop(agent, None)
        if well:
            self._proven[agent] = self._count
            if len(self._proven) > _PROVEN_MAX:
                self._proven.popitem(last=False)

    def look(self) -> tuple[int, int]:
        """Find out which turns wait for long, or hang; return how many more hang, and how many more are too many."""
        self.places.look()
        new = [turn for turn in self._running.keys() - self._hanging if turn.group.store_wait_s >= HANGS_S]
        room = self.hanging_max - len(self._hanging)
        self._hanging.update(new[:room])
        too_many = set(new[room:]) - self._too_many
        self._too_many |= too_many
        self._doubt(new)
        return len(new[:room]), len(too_many)

    def _doubt(self, new: Iterable[RunningTurn[AnyTicket]]) -> None:
        """Find out which proofs are in doubt, as some that were proven hang, which are seen to only now."""
        if not self.hanging_max:
            return
        misled = {turn for turn in new if not turn.is_retry} - self._unproven
        self._misled |= misled
        self._unproven |= misled
        numbers = sorted(self._running[turn] for turn in self._misled)
        before, self._doubted_until = (
            self._doubted_until,
            numbers[-self._many] if len(numbers) >= self._many else 0,
        )
        self._doubts_more = self._doubted_until > before
