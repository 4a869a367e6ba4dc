"""How much a mailbox takes at once."""

from __future__ import annotations

from dataclasses import dataclass

from memrepo.limits import MIB


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
