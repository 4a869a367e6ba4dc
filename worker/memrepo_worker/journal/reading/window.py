"""Fetching parts of a journal side by side, and no more of them at a time than may be in memory.

Where there is a file to put them into, what does not fit into memory goes there as it comes, whether anybody has taken
what came before or not: the store is never waited for again and again. Large objects come in ranges, side by side.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import chain

from memrepo.limits import MIB
from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.reading.listed import Listed
from memrepo_worker.journal.reading.on_the_way import IntoFile, IntoMemory, Source
from memrepo_worker.journal.reading.spool import Spool

_REQUESTS_MAX = 256
"""So many requests are asked for at a time at most: each takes a kilobyte or two where it waits."""

AHEAD_BYTES_MAX = 256 * MIB
"""So much may go to disk that nobody has taken yet: all agents of a machine share the disk."""


class Window:
    """Yields parts in the order in which they are added; as many are asked for as ``bytes_max`` allows, at least one.

    What is added is asked for at once, as far as there is room; so it may be on its way before anybody iterates.
    Without a spool, room is made by who takes what is here. With one, ``bytes_max`` is what is on its way, and half of
    that stays in memory once it is here: all that is over goes to spools, as does one that is larger by itself. A spool
    takes about ``AHEAD_BYTES_MAX``, and is gone with all that was read from it.
    """

    def __init__(
        self, executor: Executor, source: Source, bytes_max: int, new_spool: Callable[[], Spool] | None = None
    ) -> None:
        self._executor = executor
        self._source = source
        self._bytes_max = bytes_max
        self._new_spool = new_spool
        self._in_memory_max = bytes_max if new_spool is None else bytes_max // 2
        self._spool: Spool | None = None
        self._left: Iterator[Listed] = iter(())
        self._next: Listed | None = None
        self._asked: deque[IntoMemory | IntoFile] = deque()
        self._unfinished: deque[IntoFile] = deque()  # of which not all ranges are asked for
        self._in_memory = self._ahead_on_disk = 0
        self._lock = threading.Lock()
        self._requests = self._bytes_under_way = 0

    def add(self, listed: Iterable[Listed]) -> None:
        """Have these come after all that was added before."""
        self._left = chain(self._left, listed)
        self._ask()

    def cancel(self) -> None:
        """Ask for nothing more, where that has not begun."""
        for part in self._asked:
            part.cancel()

    def __iter__(self) -> Iterator[Entry]:
        """Yield what was added; where that ends early, nothing more is asked for."""
        try:
            while self._asked:
                part = self._asked[0]
                while not part.is_here:
                    if not part.is_awaited:  # there was no room, and now it is what is waited for
                        self._begin(part)
                    part.wait()
                    self._ask()
                self._asked.popleft()
                if isinstance(part, IntoFile):
                    self._ahead_on_disk -= part.item.size
                elif self._new_spool is None:
                    self._in_memory -= part.item.size
                yield part.entry(self._ask)
                self._ask()
        finally:
            self.cancel()
            # What was asked for knows of this window: neither waits for the garbage collector to leave the disk.
            self._asked.clear()
            self._unfinished.clear()

    def _ask(self) -> None:
        while self._ask_range() or self._ask_next():
            pass

    def _ask_range(self) -> bool:
        """Ask for more of an object whose header is here, as far as there is room."""
        for part in self._unfinished:
            if part.next_bytes and self._has_room(part.next_bytes):
                self._begin(part)
                return True
        return False

    def _ask_next(self) -> bool:
        """Ask for the next part, as far as there is room."""
        item = self._next = self._next or next(self._left, None)
        if item is None:
            return False
        fits = self._in_memory + item.size <= self._in_memory_max
        part: IntoMemory | IntoFile
        if self._new_spool is None or fits or self._source.is_refused(item):
            if self._asked and not (fits and self._has_room(item.size)):
                return False
            self._in_memory += item.size
            part = IntoMemory(self._source, item)
        else:
            if self._asked and not self._has_room_on_disk(item):
                return False
            if self._spool is None or self._spool.allotted_bytes >= AHEAD_BYTES_MAX:
                self._spool = self._new_spool()
            self._ahead_on_disk += item.size
            part = IntoFile(self._source, item, self._spool)
        self._next = None
        self._asked.append(part)
        self._begin(part)
        return True

    def _has_room_on_disk(self, item: Listed) -> bool:
        is_near = self._ahead_on_disk + item.size <= AHEAD_BYTES_MAX
        return is_near and self._has_room(IntoFile.first_bytes(item))

    def _has_room(self, size: int) -> bool:
        """Whether so much more may be on its way; what has just come is counted for a moment longer."""
        with self._lock:
            return self._bytes_under_way + size <= self._bytes_max and self._requests < _REQUESTS_MAX

    def _begin(self, part: IntoMemory | IntoFile) -> None:
        size = part.next_bytes
        with self._lock:
            self._requests += 1
            self._bytes_under_way += size
        part.ask(self._executor).add_done_callback(lambda _: self._end(size))
        if isinstance(part, IntoFile):
            is_listed = part in self._unfinished
            if part.has_more and not is_listed:
                self._unfinished.append(part)
            elif is_listed and not part.has_more:
                self._unfinished.remove(part)

    def _end(self, size: int) -> None:
        with self._lock:
            self._requests -= 1
            self._bytes_under_way -= size
