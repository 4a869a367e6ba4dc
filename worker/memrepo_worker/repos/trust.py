"""How far a warm repository is believed, as one value whose changes have names.

claimed   read from disk: an earlier process wrote it
verified  its tip is an entry of the journal; whether it is the newest, is not known
proven    it was the newest at some moment of this lease
doubted   verified, and no more: an answer got lost, or a rival was met
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from memrepo_worker.group import Lease


class WarmRepoDamagedError(Exception):
    """Something in the local copy is wrong; throw it away and open it cold."""


class HarmedMeanwhileError(WarmRepoDamagedError):
    """Files of the local copy are not as they were written while it is made: no word on what it is made from."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of a warm repository's tip.

    ``proven_at_s``, on the monotonic clock, is a moment at which it was the newest. ``clean_seal`` is the seal below
    which the store was seen clean. ``checked_seq`` was the newest entry when the store was last seen to have what was
    taken in, at ``checked_at_s``; None where an earlier process took it in. (A create shows that its own entry is
    there, and nothing of those before it.)
    """

    lease_token: str | None = None
    proven_at_s: float = -math.inf
    clean_seal: int = 0
    checked_seq: int | None = 0
    checked_at_s: float = -math.inf

    @classmethod
    def claimed(cls) -> Trust:
        """A state from disk: hold it against the store before anything is decided by it."""
        return cls(checked_seq=None)

    def proven(self, lease: Lease, at_s: float) -> Trust:
        """The state was the journal's newest at ``at_s`` or after it, within this lease.

        What shows it is a request to the store: ``at_s`` is when that was sent.
        """
        return replace(self, lease_token=lease.token, proven_at_s=at_s)

    def checked(self, seq: int, at_s: float) -> Trust:
        """The store was seen to have the entries up to ``seq``, at ``at_s`` or after it."""
        return replace(self, checked_seq=seq, checked_at_s=at_s)

    def needs_check(self, now_s: float, age_s_max: float) -> bool:
        """Whether it was last seen longer ago that the store has what was taken in."""
        return now_s - self.checked_at_s >= age_s_max

    def doubted(self) -> Trust:
        """It may not be the newest any more: the next to ask asks the store."""
        return replace(self, lease_token=None)

    def cleaned(self, seal: int) -> Trust:
        """The store was seen clean below a seal."""
        return replace(self, clean_seal=seal)

    def is_proven(self, lease: Lease, now_s: float, age_s_max: float = math.inf) -> bool:
        """Whether it was proven under this lease, which goes on, and not longer ago than ``age_s_max``."""
        if self.lease_token != lease.token or now_s >= lease.valid_until_s:
            return False
        return now_s - self.proven_at_s < age_s_max
