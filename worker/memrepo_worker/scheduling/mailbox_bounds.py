"""How much a mailbox takes at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from memrepo.limits import MIB
from memrepo_worker.scheduling.under_way import AnyTicket


@dataclass(frozen=True, slots=True)
class MailboxBounds:
    """The numbers.

    A group always holds at least one request, however big. ``parked_bytes_max`` is where the mailbox is full.
    ``turns_max`` does not count up to ``hanging_max`` turns that hang at the store.
    """

    group_requests_max: int = 128
    group_bytes_max: int = 32 * MIB
    parked_bytes_max: int = 256 * MIB
    turns_max: int = 16
    hanging_max: int = 0

    @property
    def retries_max(self) -> int:
        """How many threads at a time may try again what failed before."""
        return max(1, self.turns_max // 2)

    def group_of(self, waiting: deque[AnyTicket]) -> list[AnyTicket]:
        """Take out of what waits for one agent what shares its next entry: the first, and some that follow it."""
        taken = [waiting.popleft()]
        size = taken[0].size_bytes
        while waiting and len(taken) < self.group_requests_max:
            # Alone in its group: nothing before it may be left for a later turn, when what it read is gone.
            if taken[-1].ends_group or waiting[0].ends_group:
                break
            size += waiting[0].size_bytes
            if size > self.group_bytes_max:
                break
            taken.append(waiting.popleft())
        return taken
