"""Reading a journal: all of it for a cold open, or what was added since for a warm repository.

A cold open takes three sequential rounds: list bases and segments; get the newest base and list the entries after all
that is joined; get the segments that follow on the base, and those entries, at once, or, where there are many bytes of
them, as many at once as may be in memory. Bases and segments only save time: where one of them is lost or damaged, the
entries that it stands for are read instead, as far as they are there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from memrepo.limits import MIB
from memrepo_worker.bounds import Bounds
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import (
    Entry,
    EntryDoesNotFollowError,
    JournalDamagedError,
    JournalUnreadableError,
    decode_entry,
)
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.runs import Run
from memrepo_worker.journal.spooling import OpenFile, sha256_of_object, spooled
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store

_LOOKS_MAX = 3
SEGMENTS_MAX = 999
"""More are not looked at: a journal of any length is folded into fewer, and one page of a listing shows them."""
_GAP_MAX = 1_000_000
"""With so many entries missing before it, it is the one after the gap that does not belong there."""

Result = TypeVar("Result")


class _MovedError(Exception):
    """What was listed could not be read: it may be there when one looks again. ``error`` says what it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class AcceleratorDamagedError(JournalDamagedError):
    """A base or segment is lost or not what memrepo writes; the entries that it stands for may be there."""


class LocalCopyStaleError(Exception):
    """What one holds of a repository is void: it was deleted since, or the store is not the one it came from."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a cold open found: the newest base, and every entry after it, without a gap.

    A segment may stand among the entries, for those that it is made of; its number is that of its last.
    """

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
    """An entry as it is in a listing, or the segment that ends with it: then ``joined`` says which."""

    seq: int
    size: int
    joined: Run | None = None


class FoundJournal:
    """A journal while it is read: the newest base is there, the entries after it come as they are asked for.

    ``passed_over`` says why no other base than a seal's and no segment is used, or not each of very many segments.
    """

    def __init__(
        self,
        base: Entry | None,
        seq: int,
        entries: Iterator[Entry],
        batch_bytes_max: int,
        passed_over: Exception | None = None,
    ) -> None:
        self.base = base
        self.seq = seq
        self.passed_over = passed_over
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

    ``bytes_max``: how much of a journal is on its way at a time, and how much is handed over at a time. An object that
    is larger alone goes through a file, piece by piece, where ``open_file`` gives one.
    ``entry_bytes_max``: of an entry, base or segment that is listed as larger, no byte is asked for: it is damage, and
    ``over_bound`` is called.
    """

    store: Store
    layout: Layout
    executor: Executor
    bytes_max: int = 64 * MIB
    entry_bytes_max: int = Bounds().entry_bytes_max
    over_bound: Callable[[], None] = lambda: None
    open_file: OpenFile | None = None

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
        try:
            return self._looked_again(self._find, take)
        except AcceleratorDamagedError as error:
            return self.read_entries(take, error)

    def read_entries(self, take: Callable[[FoundJournal], Result], fault: Exception) -> Result:
        """Return what ``take`` makes of the entries alone; ``fault`` is what was wrong with what stands for them.

        Below a seal that was cleaned there is nothing but its base, so that one is taken.

        Raises:
            JournalUnreadableError, UnavailableError, RefusedError: as ``read``.
            Exception: ``fault``, where nothing stands for its entry, or not all of the entries are there.
        """
        return self._looked_again(lambda: self._find_entries(fault), take)

    def _looked_again(
        self, find: Callable[[], FoundJournal], take: Callable[[FoundJournal], Result]
    ) -> Result:
        for _ in range(_LOOKS_MAX - 1):
            try:
                return self._read_once(find, take)
            except _MovedError:
                # A delete or a fold may have moved things between two requests.
                continue
        try:
            return self._read_once(find, take)
        except _MovedError as moved:
            if isinstance(moved.error, JournalUnreadableError):
                raise moved.error from moved.error.__cause__
            raise JournalDamagedError(
                f"{self.layout.prefix} does not hold still or lacks a part: {moved.error}"
            ) from moved.error

    def since(self, seq: int, first: int | None = None) -> Iterator[Sequence[Entry]]:
        """Yield the entries after ``seq``, without a gap, as ``FoundJournal.batches`` does; one request when none are.

        The listing begins with entry ``seq`` itself, or ``first`` before it: one that was lost must not pass unseen.

        Raises:
            LocalCopyStaleError: one of these is gone, or one after ``seq`` was replaced by a marker.
            JournalDamagedError, NewerJournalError: one after it cannot be read.
        """
        first = first or seq
        try:
            listed = self._listed_from(first)
        except JournalDamagedError as error:
            raise LocalCopyStaleError(str(error)) from error
        if len(listed) <= seq - first:
            raise LocalCopyStaleError(f"entry {seq} is not there any more")
        yield from batches(self._fetched(listed[seq - first + 1 :]), self.bytes_max)

    def some(self, first: int, count: int) -> Iterator[Entry]:
        """Yield up to ``count`` entries from ``first`` on, without a gap; raises what ``since`` does."""
        yield from self._fetched(self._listed_from(first, count))

    def has_entry(self, seq: int, data_sha256: str) -> bool:
        """Whether entry ``seq`` is in the store with exactly these bytes, given by their SHA-256."""
        return sha256_of_object(self.store, self.layout.entry(seq), self.entry_bytes_max) == data_sha256

    def has_legacy_layout(self) -> bool:
        """Whether the agent's prefix holds a repository in the legacy layout."""
        try:
            self.store.get(self.layout.legacy_head, 0)
        except NotThereError:
            return False
        except ObjectTooLargeError:
            pass
        return True

    def _read_once(self, find: Callable[[], FoundJournal], take: Callable[[FoundJournal], Result]) -> Result:
        found = None
        try:
            found = find()
            return take(found)
        except (JournalUnreadableError, LocalCopyStaleError, NotThereError) as error:
            if found is not None and error is not found.fault:
                raise  # it is about what ``take`` made of it
            raise _MovedError(error) from error

    def _find(self) -> FoundJournal:
        there, passed_over = self._accelerators()
        base = (
            self.executor.submit(self._base, there.base, there.base_sizes[there.base]) if there.base else None
        )
        listed = self._listed_after(there.end, in_base=not there.chain)
        seq = listed[-1].seq if listed else there.end
        joined = [_Listed(run.last, there.segments[run.first, run.last], run) for run in there.chain]
        parts = self._fetched([*joined, *listed])
        return FoundJournal(base.result() if base else None, seq, parts, self.bytes_max, passed_over)

    def _find_entries(self, fault: Exception) -> FoundJournal:
        there, _ = self._accelerators()
        if there.end == 0 or _is_of_an_entry_after(there.end, fault):
            raise fault
        markers = [
            seq
            for item in self.store.list(self.layout.journal)
            if not item.size and (seq := self.layout.entry_seq(item.key)) is not None
        ]
        cleaned = max(markers, default=0)
        seal = next((base for base in there.bases if base > cleaned), 0) if cleaned else 0
        try:
            listed = self._listed_after(seal, in_base=True)
        except JournalDamagedError as error:
            raise fault from error
        seq = listed[-1].seq if listed else seal
        if seq < there.end:
            raise fault
        base = self._base(seal, there.base_sizes[seal]) if seal else None
        return FoundJournal(base, seq, self._fetched(listed), self.bytes_max, fault)

    def _accelerators(self) -> tuple[Accelerators, Exception | None]:
        """Return what stands for entries, and why not all of it is looked at, where that is so."""
        prefix = self.layout.segments
        asked = self.executor.submit(lambda: [*islice(self.store.list(prefix), SEGMENTS_MAX + 1)])
        bases, segments = [*self.store.list(self.layout.bases)], asked.result()
        over = (
            AcceleratorDamagedError(f"over {SEGMENTS_MAX} segments under {prefix}: the rest is not looked at")
            if len(segments) > SEGMENTS_MAX
            else None
        )
        return Accelerators.of(self.layout, [*bases, *segments[:SEGMENTS_MAX]]), over

    def _base(self, seq: int, size: int) -> Entry:
        return self._accelerator(self.layout.base(seq), seq, size, in_base=True)

    def _accelerator(self, key: str, seq: int, size: int, *, in_base: bool = False) -> Entry:
        try:
            self._require_size(seq, size)
            return decode_entry(seq, self._data(key, size))
        except (NotThereError, ObjectTooLargeError, JournalDamagedError) as error:
            raise AcceleratorDamagedError(f"{key}: {error}", seq, in_base=in_base) from error
        except JournalUnreadableError as error:
            raise (error.within_base() if in_base else error) from error

    def _listed_after(self, end: int, *, in_base: bool) -> Sequence[_Listed]:
        """Return the entries after one with which a base or segment ends, 0 for all; that entry is there, too."""
        if not end:
            return self._listed_from(1)
        listed = self._listed_from(end)
        if not listed or listed[0].seq != end:
            what = "base" if in_base else "a segment up to"
            raise JournalDamagedError(
                f"{what} {end} stands for entries up to one that is not there", end, in_base=in_base
            )
        return listed[1:]

    def _listed_from(self, first: int, count: int | None = None) -> Sequence[_Listed]:
        """Return the entries from ``first`` on, all or so many, without a gap; none where that one is not there."""
        start_after = self.layout.entry(first - 1) if first > 1 else ""
        entries = (
            _Listed(seq, item.size)
            for item in self.store.list(self.layout.journal, start_after)
            if (seq := self.layout.entry_seq(item.key)) is not None
        )
        listed = [*islice(entries, count)]
        for expected, found in enumerate(listed, start=first):
            if found.seq != expected:
                raise self._out_of_order(expected, found.seq)
        return listed

    def _out_of_order(self, expected: int, found: int) -> JournalDamagedError:
        """Return the error for an entry that is not the next: it is out of place, or what lies before it is gone."""
        missing = f"{self.layout.journal} has a gap: entry {expected} is not there, and {found} is"
        is_stray = not expected < found < expected + _GAP_MAX
        return JournalDamagedError(missing, found if is_stray else expected)

    def _part(self, item: _Listed) -> Entry:
        if item.joined is not None:
            key = self.layout.segment(item.joined.first, item.joined.last)
            return self._accelerator(key, item.seq, item.size)
        self._require_size(item.seq, item.size)
        return self._entry(item)

    def _require_size(self, seq: int, size: int) -> None:
        """Raise ``JournalDamagedError`` where so much was listed that it may not be read."""
        if size > self.entry_bytes_max:
            self.over_bound()
            raise JournalDamagedError(
                f"entry {seq} is {size} bytes, over MEMREPO_ENTRY_BYTES_MAX ({self.entry_bytes_max})", seq
            )

    def _data(self, key: str, size: int) -> bytes | memoryview:
        """Return an object's bytes; ``size`` is what was listed."""
        if size > self.bytes_max and self.open_file is not None:
            return spooled(self.store, key, self.entry_bytes_max, self.open_file, self.bytes_max)
        return self.store.get(key, self.entry_bytes_max).data

    def _entry(self, item: _Listed) -> Entry:
        seq, key = item.seq, self.layout.entry(item.seq)
        try:
            data = self._data(key, item.size)
        except NotThereError as error:  # or it is another by now
            raise LocalCopyStaleError(f"entry {seq} is not there any more") from error
        except ObjectTooLargeError as error:  # it was smaller when it was listed
            self.over_bound()
            raise JournalDamagedError(f"entry {seq}: {error}, MEMREPO_ENTRY_BYTES_MAX", seq) from error
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
                asked.append((item.size, self.executor.submit(self._part, item)))
                on_the_way += item.size
            while asked:
                yield asked.popleft()[1].result()
        finally:
            for _, future in asked:
                future.cancel()


def _is_of_an_entry_after(end: int, fault: Exception) -> bool:
    """Whether a fault is an entry's own, beyond what is joined; one that builds on nothing may be what is joined's."""
    if isinstance(fault, EntryDoesNotFollowError):
        return False
    return isinstance(fault, JournalUnreadableError) and fault.seq > end
