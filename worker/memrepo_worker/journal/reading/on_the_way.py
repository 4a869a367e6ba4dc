"""A part of a journal on its way from the store: whole into memory, or range by range into a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol, TypeVar

from memrepo.limits import MIB
from memrepo_worker.journal.entry import HEAD_BYTES, Entry, decode_entry
from memrepo_worker.journal.reading.contents import (
    AT_ONCE_BYTES_MAX,
    read_bytes,
    read_entry,
    read_head,
    read_range,
)
from memrepo_worker.journal.reading.listed import Listed
from memrepo_worker.journal.reading.spool import Spool
from memrepo_worker.store.interface import Pin, Store

_RANGE_BYTES = MIB
"""So much of a large object is one request; several of them go side by side."""

Result = TypeVar("Result")


class Source(Protocol):
    """Where parts come from."""

    @property
    def store(self) -> Store:
        """The store that has them."""
        ...

    def is_refused(self, item: Listed) -> bool:
        """Whether a part is listed as so large that nothing of it is asked for."""
        ...

    def told(self, item: Listed, read: Callable[[str], Result | None]) -> Result:
        """Return what is read of a part at its key; what that raises is told in terms of the journal."""
        ...


class IntoMemory:
    """A part that is read whole, and decoded, by the thread that fetches it."""

    def __init__(self, source: Source, item: Listed) -> None:
        self.item = item
        self._source = source
        self._request: Future[Entry] | None = None
        self._entry: Entry | None = None

    @property
    def next_bytes(self) -> int:
        """How many bytes its next request is for."""
        return self.item.size

    @property
    def is_here(self) -> bool:
        """Whether all of it was waited for."""
        return self._entry is not None

    @property
    def is_awaited(self) -> bool:
        """Whether a request of it is under way."""
        return self._request is not None

    def ask(self, executor: Executor) -> Future[Entry]:
        """Ask for all of it."""
        item, store = self.item, self._source.store
        self._request = executor.submit(
            self._source.told, item, lambda key: read_entry(store, key, item.seq, item.size)
        )
        return self._request

    def wait(self) -> None:
        """Wait for what was asked; raises what that does."""
        assert self._request is not None
        self._entry = self._request.result()

    def entry(self, _: Callable[[], object]) -> Entry:
        """Return it, once it is here."""
        assert self._entry is not None
        return self._entry

    def cancel(self) -> None:
        """Ask for nothing more, where that has not begun."""
        if self._request is not None:
            self._request.cancel()


class IntoFile:
    """A part that goes into a spool. What is large has its header looked at first, then its ranges come side by side.

    Its methods are as those of ``IntoMemory``.
    """

    def __init__(self, source: Source, item: Listed, spool: Spool) -> None:
        self.item = item
        self._source = source
        self._spool = spool
        self._place = spool.allot(item.size)
        self._asked_bytes = 0
        self._head: Future[Pin] | None = None
        self._requests: deque[Future[Any]] = deque()

    @staticmethod
    def first_bytes(item: Listed) -> int:
        """Return how many bytes of a part its first request is for."""
        return item.size if item.size <= AT_ONCE_BYTES_MAX else HEAD_BYTES

    @property
    def has_more(self) -> bool:
        """Whether not all of it was asked for."""
        return self._asked_bytes < self.item.size

    @property
    def next_bytes(self) -> int:
        """How many bytes its next request is for; 0 where none can be asked just now."""
        if not self._asked_bytes:
            return self.first_bytes(self.item)
        if self._head is None or not self._head.done() or self._head.exception() is not None:
            return 0
        return min(_RANGE_BYTES, self.item.size - self._asked_bytes)

    @property
    def is_here(self) -> bool:
        """Whether all of it was waited for."""
        return not self.has_more and not self._requests

    @property
    def is_awaited(self) -> bool:
        """Whether a request of it is under way."""
        return bool(self._requests)

    def ask(self, executor: Executor) -> Future[Any]:
        """Ask the next request."""
        start, size = self._asked_bytes, self.next_bytes
        request: Future[Any]
        if start:
            assert self._head is not None
            request = executor.submit(
                self._source.told, self.item, self._range(start, size, self._head.result())
            )
        elif size == self.item.size:
            request = executor.submit(self._source.told, self.item, self._whole)
        else:
            request = self._head = executor.submit(self._source.told, self.item, self._beginning)
        self._asked_bytes += size
        self._requests.append(request)
        return request

    def wait(self) -> None:
        """Wait for the first of what was asked; raises what that does."""
        self._requests[0].result()
        self._requests.popleft()

    def entry(self, between: Callable[[], object]) -> Entry:
        """Return it, once it is here: its pack lies in the file. ``between`` is called while it is looked through."""
        data = self._spool.view(self._place, self.item.size)
        return self._source.told(self.item, lambda _: decode_entry(self.item.seq, data, between))

    def cancel(self) -> None:
        """Ask for nothing more, where that has not begun."""
        for request in self._requests:
            request.cancel()

    # Each is done by the thread that fetches it, and returns None where the object has no bytes any more.

    def _whole(self, key: str) -> int | None:
        data = read_bytes(self._source.store, key, self.item.seq, self.item.size)
        self._spool.write(self._place, data)
        return len(data) or None

    def _beginning(self, key: str) -> Pin | None:
        found = read_head(self._source.store, key, self.item.seq, self.item.size)
        self._spool.write(self._place, found.data)
        return found.pin if found.size else None

    def _range(self, start: int, size: int, pin: Pin) -> Callable[[str], int]:
        def read(key: str) -> int:
            self._spool.write(self._place + start, read_range(self._source.store, key, start, size, pin))
            return size

        return read
