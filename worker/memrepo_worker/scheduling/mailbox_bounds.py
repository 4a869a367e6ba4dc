"""How much a mailbox takes at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

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
        taken = self.next_group(waiting)
        for _ in taken:
            waiting.popleft()
        return taken

    def next_group(self, waiting: Iterable[AnyTicket]) -> list[AnyTicket]:
        """Return what ``group_of`` takes out."""
        taken: list[AnyTicket] = []
        size = 0
        for ticket in islice(waiting, self.group_requests_max):
            size += ticket.size_bytes
            # Alone in its group: nothing before it may be left for a later turn, when what it read is gone.
            if taken and (taken[-1].ends_group or ticket.ends_group or size > self.group_bytes_max):
                break
            taken.append(ticket)
        return taken
