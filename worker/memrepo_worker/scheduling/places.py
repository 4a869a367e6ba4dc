"""How many turns work at a time: enough that the processor is busy while some of them wait, and no more.

Python computes in one thread at a time. Turns beyond those that keep it busy only wait for each other, and each takes
longer for it. What waits in the mailbox instead shares an entry with what comes meanwhile, and so a request to the
store. So the number follows the work: where the store is near it is a few, where it is far all that may have a thread.
"""

from __future__ import annotations

from math import ceil
from typing import Generic

from memrepo.clock import Clock, steady_clock
from memrepo_worker.scheduling.under_way import AnyTicket, GroupUnderWay
from memrepo_worker.threads.usual_work import UsualWork

WAITS_S = 0.02
"""A turn that waits for the store for so long by now gives up its place."""

HELD_S_MAX = 0.1
"""So does one that began so long ago, whatever it does: it may wait for what nobody measures."""

_LEAST = 2


class Places(Generic[AnyTicket]):
    """The places of the turns that work now. Not thread-safe.

    A turn has one from its beginning to its end, or until it waits for long: whoever hangs keeps none. Turns that are
    held back otherwise never have one: those that are heavy, tries after a failure, and an agent's first, which opens
    its memory.
    """

    def __init__(self, turns_max: int, clock: Clock = steady_clock) -> None:
        self._turns_max = turns_max
        self._clock = clock
        self._usual = UsualWork()
        self._began_s: dict[GroupUnderWay[AnyTicket], float] = {}
        self._given_up: set[GroupUnderWay[AnyTicket]] = set()
        self.limit = turns_max
        """How many there are."""

    @property
    def free(self) -> int:
        """How many more turns may begin; below 0 where there are fewer places than there were."""
        return self.limit - len(self._began_s)

    def begin(self, group: GroupUnderWay[AnyTicket]) -> None:
        """Give a turn a place."""
        self._began_s[group] = self._clock()

    def give_up(self, group: GroupUnderWay[AnyTicket]) -> None:
        """Take a turn's place, if it has one: it is going to wait for long."""
        self._began_s.pop(group, None)

    def look(self) -> None:
        """Take the places of those that wait for long."""
        now_s = self._clock()
        for group, began_s in list(self._began_s.items()):
            if group.store_wait_s >= WAITS_S or now_s - began_s >= HELD_S_MAX:
                del self._began_s[group]
                self._given_up.add(group)

    def end(self, group: GroupUnderWay[AnyTicket], used_s: float, *, well: bool) -> None:
        """Note that a turn is over, and how long a processor worked for it; ``well``: it need not be tried again."""
        had_one = self._began_s.pop(group, None) is not None or group in self._given_up
        self._given_up.discard(group)
        if had_one and well:
            self._usual.note(used_s, group.store_waited_s, self._turns_max)
            self.limit = min(
                self._turns_max, max(_LEAST, ceil(min(self._usual.to_be_busy, self._turns_max)) + 1)
            )
