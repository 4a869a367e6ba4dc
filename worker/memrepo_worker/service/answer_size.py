"""How much one answer may hold, counted while it is composed."""

from __future__ import annotations

from memrepo.errors import TooLargeError
from memrepo.limits import Limits


class AnswerSize:
    """Counts what an answer comes to, against ``request_bytes_max``."""

    def __init__(self, limits: Limits, field: str, what: str, advice: str = "") -> None:
        """``field`` asked for ``what`` (a plural with its verb), which is to be asked for otherwise."""
        self._bytes_max = limits.request_bytes_max
        self._field = field
        self._text = (
            f"{what} larger than request_bytes_max ({self._bytes_max} bytes){advice and f': {advice}'}"
        )
        self._size = 0

    def add(self, size: int) -> None:
        """Count more of it.

        Raises:
            TooLargeError: that is too much for one answer.
        """
        self._size += size
        if self._size > self._bytes_max:
            raise TooLargeError.of(self._field, self._text)
