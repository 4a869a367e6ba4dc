"""Reading a journal: all of it for a cold open, or what was added since for a warm repository.

A cold open takes three sequential rounds: list the bases; get the newest and list the entries after it; get those
entries at once, or, where there are many bytes of them, as many at once as may be in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

from memrepo.limits import MIB
from memrepo_worker.journal.entry import (
    Entry,
    JournalDamagedError,
    JournalUnreadableError,
    decode_entry,
)
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, SEQ_MAX, Layout
from memrepo_worker.store.interface import NotThereError, Store

_LOOKS_MAX = 3
_GAP_MAX = 1_000_000
"""With so many entries missing before it, it is the one after the gap that does not belong there."""

Result = TypeVar("Result")


class _MovedError(Exception):
    """What was listed could not be read: it may be there when one looks again. ``error`` says what it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class LocalCopyStaleError(Exception):
    """What one holds of a repository is void: it was deleted since, or the store is not the one it came from."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a cold open found: the newest base, and every entry after it, without a gap."""

    base: Entry | None
    entries: tuple[Entry, ...]

    @property
    def seq(self) -> int:
        """The number of the last entry; 0 when the journal was never begun."""
        if self.entries:
            return self.entries[-1].seq
        return self.base.seq if self.base else 0

    @property
    def refs(self) -> Mapping[str, str]:
        """The branches and tags after the last entry; none where there is no repository."""
        if self.entries:
            return self.entries[-1].refs
        return self.base.refs if self.base else {}

    @property
    def all(self) -> tuple[Entry, ...]:
        """The base, if there is one, and the entries."""
        return (self.base, *self.entries) if self.base else self.entries


@dataclass(frozen=True, slots=True)
class _Listed:
    """An entry as it is in a listing."""

    seq: int
    size: int


class FoundJournal:
    """A journal while it is read: the newest base is there, the entries after it come as they are asked for."""

    def __init__(self, base: Entry | None, seq: int, entries: Iterator[Entry], batch_bytes_max: int) -> None:
        self.base = base
        self.seq = seq
        self.fault: Exception | None = None
        self._entries = entries
        self._batch_bytes_max = batch_bytes_max

    def batches(self) -> Iterator[Sequence[Entry]]:
        """Yield the entries after the base in order, each once, about so many bytes at a time."""
        try:
            yield from batches(self._entries, self._batch_bytes_max)
        except Exception as error:
            self.fault = error
            raise

    def whole(self) -> Opening:
        """Return all of it."""
        return Opening(self.base, tuple(entry for batch in self.batches() for entry in batch))


def batches(entries: Iterable[Entry], bytes_max: int) -> Iterator[Sequence[Entry]]:
    """Yield entries in order, about ``bytes_max`` bytes of them at a time, at least one."""
    batch: list[Entry] = []
    held = 0
    for entry in entries:
        if batch and held + entry.size > bytes_max:
            yield batch
            batch, held = [], 0
        batch.append(entry)
        held += entry.size
    if batch:
        yield batch


@dataclass(frozen=True)
class JournalReader:
    """Reads one agent's journal. ``executor`` runs the requests that may go side by side.

    ``bytes_max``: how much of a journal is on its way at a time, and how much is handed over at a time.
    """

    store: Store
    layout: Layout
    executor: Executor
    bytes_max: int = 64 * MIB

    def open(self) -> Opening:
        """Read the whole journal into memory; raises what ``read`` does."""
        return self.read(FoundJournal.whole)

    def read(self, take: Callable[[FoundJournal], Result]) -> Result:
        """Return what ``take`` makes of the journal; it is called again where the journal moved meanwhile.

        Raises:
            JournalDamagedError: it has a gap or a broken entry, also on looking again.
            NewerJournalError: after its newest base it has what this version does not know.
            UnavailableError, RefusedError: the store cannot be read.
        """
        for _ in range(_LOOKS_MAX - 1):
            try:
                return self._read_once(take)
            except _MovedError:
                # A delete or a fold may have moved things between two requests.
                continue
        try:
            return self._read_once(take)
        except _MovedError as moved:
            if isinstance(moved.error, JournalUnreadableError):
                raise moved.error from moved.error.__cause__
            raise JournalDamagedError(
                f"{self.layout.prefix} does not hold still or lacks a part: {moved.error}"
            ) from moved.error

    def since(self, seq: int) -> Iterator[Sequence[Entry]]:
        """Yield the entries after ``seq``, without a gap, as ``FoundJournal.batches`` does; one request when none are.

        It is a listing that begins with entry ``seq`` itself: a store that lost it, or was emptied, must not be taken
        for one with nothing new.

        Raises:
            LocalCopyStaleError: entry ``seq`` is gone, or one after it was replaced by a marker.
            JournalDamagedError, NewerJournalError: one after it cannot be read.
        """
        try:
            seqs = self._listed_from(seq)
        except JournalDamagedError as error:
            raise LocalCopyStaleError(str(error)) from error
        if not seqs:
            raise LocalCopyStaleError(f"entry {seq} is not there any more")
        yield from batches(self._fetched(seqs[1:]), self.bytes_max)

    def has_entry(self, seq: int, data_sha256: str, digest: Callable[[bytes], str]) -> bool:
        """Whether entry ``seq`` is in the store with exactly these bytes, given by their digest."""
        try:
            return digest(self.store.get(self.layout.entry(seq)).data) == data_sha256
        except NotThereError:
            return False

    def has_legacy_layout(self) -> bool:
        """Whether the agent's prefix holds a repository in the legacy layout."""
        try:
            self.store.get(self.layout.legacy_head)
        except NotThereError:
            return False
        return True

    def _read_once(self, take: Callable[[FoundJournal], Result]) -> Result:
        found = None
        try:
            found = self._find()
            return take(found)
        except (JournalUnreadableError, LocalCopyStaleError, NotThereError) as error:
            if found is not None and error is not found.fault:
                raise  # it is about what ``take`` made of it
            raise _MovedError(error) from error

    def _find(self) -> FoundJournal:
        newest = self._newest_base()
        base = self.executor.submit(self._base, newest) if newest else None
        listed = self._listed_after(newest)
        seq = listed[-1].seq if listed else newest
        return FoundJournal(base.result() if base else None, seq, self._fetched(listed), self.bytes_max)

    def _newest_base(self) -> int:
        """Return the number of the newest base, 0 where there is none."""
        listed = [item for item in self.store.list(self.layout.bases) if item.size >= CONTENT_BYTES_MIN]
        seqs = [seq for item in listed if (seq := self.layout.base_seq(item.key)) is not None]
        wrong = next((seq for seq in seqs if not 0 < seq <= SEQ_MAX), None)
        if wrong is not None:
            raise JournalDamagedError(f"no base has the number {wrong}", wrong, in_base=True)
        return max(seqs, default=0)

    def _base(self, seq: int) -> Entry:
        data = self.store.get(self.layout.base(seq)).data
        try:
            return decode_entry(seq, data)
        except JournalUnreadableError as error:
            raise error.within_base() from error

    def _listed_after(self, base: int) -> Sequence[_Listed]:
        """Return the entries after a base, 0 for all; the entry that the base ends with is there, too."""
        if not base:
            return self._listed_from(1)
        listed = self._listed_from(base)
        if not listed or listed[0].seq != base:
            raise JournalDamagedError(
                f"base {base} stands for entries up to one that is not there", base, in_base=True
            )
        return listed[1:]

    def _listed_from(self, first: int) -> Sequence[_Listed]:
        """Return the entries from ``first`` on, without a gap; none where that one is not there."""
        start_after = self.layout.entry(first - 1) if first > 1 else ""
        listed = [
            _Listed(seq, item.size)
            for item in self.store.list(self.layout.journal, start_after)
            if (seq := self.layout.entry_seq(item.key)) is not None
        ]
        for expected, found in enumerate(listed, start=first):
            if found.seq != expected:
                raise self._out_of_order(expected, found.seq)
        return listed

    def _out_of_order(self, expected: int, found: int) -> JournalDamagedError:
        """Return the error for an entry that is not the next: it is out of place, or what lies before it is gone."""
        missing = f"{self.layout.journal} has a gap: entry {expected} is not there, and {found} is"
        is_stray = not expected < found < expected + _GAP_MAX
        return JournalDamagedError(missing, found if is_stray else expected)

    def _entry(self, seq: int) -> Entry:
        data = self.store.get(self.layout.entry(seq)).data
        if not data:
            raise LocalCopyStaleError(f"entry {seq} is a marker")
        return decode_entry(seq, data)

    def _fetched(self, listed: Iterable[_Listed]) -> Iterator[Entry]:
        """Yield entries in order; so many are asked for side by side as ``bytes_max`` allows, at least one."""
        asked: deque[tuple[int, Future[Entry]]] = deque()
        on_the_way = 0
        try:
            for item in listed:
                while asked and on_the_way + item.size > self.bytes_max:
                    size, future = asked.popleft()
                    on_the_way -= size
                    yield future.result()
                asked.append((item.size, self.executor.submit(self._entry, item.seq)))
                on_the_way += item.size
            while asked:
                yield asked.popleft()[1].result()
        finally:
            for _, future in asked:
                future.cancel()
