"""Fetching parts of a journal side by side, and no more of them at a time than may be in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain

from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.runs import Run


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as it is in a listing, or the base or segment that ends with it: then ``joined`` says which."""

    seq: int
    size: int
    joined: Run | None = None


class Window:
    """Yields parts in the order in which they are added; as many are asked for as ``bytes_max`` allows, at least one.

    What is added is asked for at once, as far as there is room; so it may be on its way before anybody iterates.
    """

    def __init__(self, executor: Executor, fetch: Callable[[Listed], Entry], bytes_max: int) -> None:
        self._executor = executor
        self._fetch = fetch
        self._bytes_max = bytes_max
        self._left: Iterator[Listed] = iter(())
        self._next: Listed | None = None
        self._asked: deque[tuple[int, Future[Entry]]] = deque()
        self._on_the_way = 0

    def add(self, listed: Iterable[Listed]) -> None:
        """Have these come after all that was added before."""
        self._left = chain(self._left, listed)
        self._ask()

    def _ask(self) -> None:
        while (item := self._next or next(self._left, None)) is not None:
            self._next = item
            if self._asked and self._on_the_way + item.size > self._bytes_max:
                return
            self._asked.append((item.size, self._executor.submit(self._fetch, item)))
            self._on_the_way += item.size
            self._next = None

    def cancel(self) -> None:
        """Ask for nothing more, where that has not begun."""
        for _, future in self._asked:
            future.cancel()

    def __iter__(self) -> Iterator[Entry]:
        """Yield what was added; where that ends early, nothing more is asked for."""
        try:
            while self._asked:
                size, future = self._asked.popleft()
                self._on_the_way -= size
                yield future.result()
                self._ask()
        finally:
            self.cancel()
