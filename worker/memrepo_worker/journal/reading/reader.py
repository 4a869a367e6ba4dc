"""Reading a journal: all of it for a cold open, or what was added since for a warm repository.

A cold open takes three sequential rounds: list bases and segments; list the entries after all that is joined, and get
meanwhile the newest base and the segments that follow on it; get those entries. What is large by itself takes one round
more, as its header is looked at first; a base or segment has it while the entries are listed. However many bytes there
are, as many are on their way all the time as may be, and go to disk as they come: nothing waits for what came before it
to be taken in, but where a reader has no file for it. Bases and segments only save time: where one of them is lost or
damaged, the entries that it stands for are read instead, as far as they are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from memrepo.limits import MIB
from memrepo_worker.bounds import Bounds
from memrepo_worker.journal.entry import (
    Entry,
    EntryDoesNotFollowError,
    JournalDamagedError,
    JournalUnreadableError,
)
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading.contents import has_bytes
from memrepo_worker.journal.reading.found import FoundJournal, Opening, batches
from memrepo_worker.journal.reading.listed import Listed
from memrepo_worker.journal.reading.parts import (
    AcceleratorDamagedError,
    JournalParts,
    LocalCopyStaleError,
    listed_base,
)
from memrepo_worker.journal.reading.spool import OpenFile
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store

_LOOKS_MAX = 3

Result = TypeVar("Result")


class _MovedError(Exception):
    """What was listed could not be read: it may be there when one looks again. ``error`` says what it was."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class JournalReader:
    """Reads one agent's journal. ``executor`` runs the requests that may go side by side.

    ``bytes_max``: how much of a journal is on its way at a time, and how much of it is in memory of what is handed over
    at a time. What does not fit goes to a file, where ``open_file`` gives one: then ``over_memory`` is called, once for
    each reading.
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
    over_memory: Callable[[], None] = lambda: None

    @property
    def parts(self) -> JournalParts:
        """What lists and fetches the parts of the journal, one by one."""
        return JournalParts(
            self.store,
            self.layout,
            self.executor,
            self.bytes_max,
            self.entry_bytes_max,
            self.over_bound,
            self.open_file,
            self.over_memory,
        )

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
            raise self._lacking(moved.error) from moved.error

    def _lacking(self, error: Exception) -> JournalDamagedError:
        """Return the error for a journal that was found to be another each time, with what it lacks where that shows.

        A delete writes its base before the first marker. So where entries begin with markers and no base is above
        them, it was lost; or the markers are none of a delete's.
        """
        told = f"{self.layout.prefix} does not hold still or lacks a part: {error}"
        seq = error.seq if isinstance(error, LocalCopyStaleError) else 0
        marker = max(self._markers(), default=0)
        if not marker or any(base > marker for base in self.parts.accelerators()[0].bases):
            return JournalDamagedError(told, seq)
        try:
            above = next(self.some(marker + 1, 1), None)
        except (JournalUnreadableError, LocalCopyStaleError):
            return JournalDamagedError(told, marker + 1)
        if above is None or above.refs:
            seq = seq or marker
            return JournalDamagedError(f"entry {seq} has no bytes, and no delete lies above it", seq)
        return JournalDamagedError(
            f"the base of the delete that ends with entry {above.seq} is not there", above.seq, in_base=True
        )

    def _markers(self) -> Iterator[int]:
        """Yield the numbers of the entries that a delete has replaced."""
        for item in self.store.list(self.layout.journal):
            seq = self.layout.entry_seq(item.key)
            if seq is not None and not item.size:
                yield seq

    def since(self, seq: int, first: int | None = None) -> Iterator[list[Entry]]:
        """Yield the entries after ``seq``, without a gap, as ``FoundJournal.batches`` does; one request when none are.

        The listing begins with entry ``seq`` itself, or ``first`` before it: one that was lost must not pass unseen.

        Raises:
            LocalCopyStaleError: one of these is gone, or one after ``seq`` was replaced by a marker.
            JournalDamagedError, NewerJournalError: one after it cannot be read.
        """
        first = first or seq
        try:
            listed = self.parts.listed_from(first)
        except JournalDamagedError as error:
            raise LocalCopyStaleError(str(error)) from error
        if len(listed) <= seq - first:
            raise LocalCopyStaleError(f"entry {seq} is not there any more")
        yield from batches(self.parts.fetched(listed[seq - first + 1 :]), self.bytes_max)

    def some(self, first: int, count: int) -> Iterator[Entry]:
        """Yield up to ``count`` entries from ``first`` on, without a gap; raises what ``since`` does."""
        yield from self.parts.fetched(self.parts.listed_from(first, count))

    def has_entry(self, seq: int, data_sha256: str) -> bool:
        """Whether entry ``seq`` is in the store with exactly these bytes, given by their SHA-256."""
        return has_bytes(self.store, self.layout.entry(seq), seq, data_sha256, self.entry_bytes_max)

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
        there, passed_over = self.parts.accelerators()
        window = self.parts.window()
        if there.base:
            window.add([listed_base(there.base, there.base_sizes[there.base])])
        window.add(Listed(run.last, there.segments[run.first, run.last], run) for run in there.chain)
        try:
            listed = self.parts.listed_after(there.end, in_base=not there.chain)
        except Exception:
            window.cancel()
            raise
        window.add(listed)
        seq = listed[-1].seq if listed else there.end
        parts = iter(window)
        return FoundJournal(next(parts) if there.base else None, seq, parts, self.bytes_max, passed_over)

    def _find_entries(self, fault: Exception) -> FoundJournal:
        there, _ = self.parts.accelerators()
        if there.end == 0 or _is_of_an_entry_after(there.end, fault):
            raise fault
        cleaned = max(self._markers(), default=0)
        seal = next((base for base in there.bases if base > cleaned), 0) if cleaned else 0
        try:
            listed = self.parts.listed_after(seal, in_base=True)
        except JournalDamagedError as error:
            raise fault from error
        seq = listed[-1].seq if listed else seal
        if seq < there.end:
            raise fault
        base = self.parts.base(seal, there.base_sizes[seal]) if seal else None
        # Git could not take what stands for them, so it has to take these some at a time.
        return FoundJournal(
            base, seq, self.parts.fetched(listed), self.bytes_max, fault, weigh=lambda entry: entry.size
        )


def _is_of_an_entry_after(end: int, fault: Exception) -> bool:
    """Whether a fault is an entry's own, beyond what is joined; one that builds on nothing may be what is joined's."""
    if isinstance(fault, EntryDoesNotFollowError):
        return False
    return isinstance(fault, JournalUnreadableError) and fault.seq > end
