"""Fetching parts of a journal side by side, and no more of them at a time than may be in memory."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import chain
from typing import overload

from typing_extensions import override

from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.runs import Run


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as it is in a listing, or the base or segment that ends with it: then ``joined`` says which."""

    seq: int
    size: int
    joined: Run | None = None


class ListedEntries(Sequence[Listed]):
    """Entries that follow each other, from ``first`` on, by their sizes: 8 bytes for each, and no more.

    So are those of a slice, which has no step.
    """

    def __init__(self, first: int, sizes: array[int] | None = None) -> None:
        self.first = first
        self._sizes = array("Q") if sizes is None else sizes

    @property
    def next(self) -> int:
        """The number of the entry that follows on the last."""
        return self.first + len(self._sizes)

    def append(self, size: int) -> None:
        """Add the next one."""
        self._sizes.append(size)

    def size_of(self, seq: int) -> int | None:
        """Return how large an entry is; None where it is none of these."""
        return self._sizes[seq - self.first] if self.first <= seq < self.next else None

    @override
    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Listed: ...
    @overload
    def __getitem__(self, index: slice) -> ListedEntries: ...
    @override
    def __getitem__(self, index: int | slice) -> Listed | ListedEntries:
        places = range(len(self._sizes))[index]
        if isinstance(places, range):
            return ListedEntries(self.first + places.start, self._sizes[places.start : places.stop])
        return Listed(self.first + places, self._sizes[places])


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
