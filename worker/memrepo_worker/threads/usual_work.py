"""How much of something keeps a processor busy while some of it waits."""

from __future__ import annotations

_SHARE = 1 / 32
_SHARE_IF_LESS = 1 / 4


class UsualWork:
    """What a turn, or a request to the store, took lately: of the processor, and of waiting. Not thread-safe.

    Waiting grows with those that are under way, for the processor, and for a store on the same machine. If more of
    them were allowed for that, it would grow further. So a shorter wait counts for more than a longer one.
    """

    def __init__(self) -> None:
        self._used_s: float | None = None
        self._waited_s: float | None = None
        self._waits = 1.0
        """How many of them wait at all."""

    @property
    def to_be_busy(self) -> float:
        """How many such keep one processor busy; any number while nothing is known."""
        if self._used_s is None:
            return float("inf")
        return 1 + self._waits * (self._waited_s or 0.0) / self._used_s

    def note(self, used_s: float, waited_s: float, most: float) -> None:
        """Take one into account; one whose store is further away than so many can make use of, as that far."""
        used_s = max(used_s, 1e-6)
        self._used_s = _nearer(self._used_s, used_s, _SHARE)
        self._waits += _SHARE * ((waited_s > 0) - self._waits)
        if waited_s > 0:
            waited_s = min(waited_s, most * self._used_s)
            is_less = self._waited_s is not None and waited_s < self._waited_s
            self._waited_s = _nearer(self._waited_s, waited_s, _SHARE_IF_LESS if is_less else _SHARE)


def _nearer(to: float | None, value: float, share: float) -> float:
    return value if to is None else to + share * (value - to)
