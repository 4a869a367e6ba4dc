"""The threads that a mailbox has borrowed from a pool: those that serve, and those that are on their way."""

from __future__ import annotations

from collections.abc import Callable


class BorrowedThreads:
    """Counts them. A thread goes on until it finds nothing to serve; then it is given back.

    The caller holds the mailbox's lock, but for ``borrow``: the pool may take its time.
    """

    def __init__(self, submit: Callable[[Callable[[], None]], object], work: Callable[[], None]) -> None:
        """``submit`` has something done by a thread of the pool; ``work`` is what a borrowed one does."""
        self._submit = submit
        self._work = work
        self._coming = 0
        self.count = 0
        """How many there are, those on their way among them."""

    def are_enough(self, waiting: int) -> bool:
        """Whether those on their way suffice for what waits.

        Who delivers is quicker than they are, and would wake all for one.
        """
        return self._coming >= waiting

    def reserve(self) -> None:
        """Count one more; it is to be borrowed once the lock is let go."""
        self.count += 1
        self._coming += 1

    def borrow(self, count: int) -> None:
        """Have threads come that were reserved. Raises whatever the pool does."""
        for _ in range(count):
            self._submit(self._work)

    def note_arrival(self) -> None:
        """Note that one of those on their way is there."""
        self._coming -= 1

    def give_back(self) -> None:
        """Note that one is not needed any more."""
        self.count -= 1
