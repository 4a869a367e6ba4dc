"""The parts of a journal: which a listing shows, and how they are fetched, several side by side.

Nothing is asked for that is listed as larger than an entry may be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import Entry, JournalDamagedError, JournalUnreadableError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout, is_stray
from memrepo_worker.journal.reading.listed import Listed, ListedEntries
from memrepo_worker.journal.reading.spool import OpenFile, Spool
from memrepo_worker.journal.reading.window import Window
from memrepo_worker.journal.runs import Run
from memrepo_worker.store.interface import NotThereError, Store

SEGMENTS_MAX = 999
"""More are not looked at: a journal of any length is folded into fewer, and one page of a listing shows them."""

BASES_MAX = 999
"""Of more the newest are looked at: those before them are of no use to anybody."""

Result = TypeVar("Result")


class AcceleratorDamagedError(JournalDamagedError):
    """A base or segment is lost or not what memrepo writes; the entries that it stands for may be there."""


class LocalCopyStaleError(Exception):
    """What one holds of a repository is void: it was deleted since, or the store is not the one it came from.

    ``seq`` is the entry by which that was seen; 0 where it is none that is there.
    """

    def __init__(self, message: str, seq: int = 0) -> None:
        super().__init__(message)
        self.seq = seq


@dataclass(frozen=True)
class JournalParts:
    """Lists and fetches the parts of one agent's journal. Its fields are those of ``JournalReader``."""

    store: Store
    layout: Layout
    executor: Executor
    bytes_max: int
    entry_bytes_max: int
    over_bound: Callable[[], None]
    open_file: OpenFile | None
    over_memory: Callable[[], None]

    def accelerators(self) -> tuple[Accelerators, Exception | None]:
        """Return what stands for entries, and why not all of it is looked at, where that is so."""
        prefix = self.layout.segments
        asked = self.executor.submit(lambda: [*islice(self.store.list(prefix), SEGMENTS_MAX + 1)])
        bases = deque(self.store.list(self.layout.bases), BASES_MAX)
        segments = asked.result()
        over = (
            AcceleratorDamagedError(f"over {SEGMENTS_MAX} segments under {prefix}: the rest is not looked at")
            if len(segments) > SEGMENTS_MAX
            else None
        )
        return Accelerators.of(self.layout, [*bases, *segments[:SEGMENTS_MAX]]), over

    def listed_after(self, end: int, *, in_base: bool) -> Sequence[Listed]:
        """Return the entries after one with which a base or segment ends, 0 for all; that entry is there, too."""
        if not end:
            return self.listed_from(1)
        listed = self.listed_from(end)
        if not listed or listed[0].seq != end:
            what = "base" if in_base else "a segment up to"
            raise JournalDamagedError(
                f"{what} {end} stands for entries up to one that is not there", end, in_base=in_base
            )
        return listed[1:]

    def listed_from(self, first: int, count: int | None = None) -> Sequence[Listed]:
        """Return the entries from ``first`` on, all or so many, without a gap; none where that one is not there."""
        start_after = self.layout.entry(first - 1) if first > 1 else ""
        return list_entries(self.store, self.layout, first, start_after, count)

    def base(self, seq: int, size: int) -> Entry:
        """Return a base; raises ``AcceleratorDamagedError``."""
        return next(iter(self.fetched([listed_base(seq, size)])))

    def window(self) -> Window:
        """Return what fetches parts, as many side by side as ``bytes_max`` allows."""
        return Window(
            self.executor, self, self.bytes_max, None if self.open_file is None else self._new_spool
        )

    def fetched(self, listed: Iterable[Listed]) -> Iterator[Entry]:
        """Yield entries in order, of which none is asked for before the first is wanted."""
        window = self.window()
        window.add(listed)
        yield from window

    def _new_spool(self) -> Spool:
        assert self.open_file is not None
        self.over_memory()
        return Spool(self.open_file)

    def is_refused(self, item: Listed) -> bool:
        """Whether a part is listed as so large that nothing of it is asked for."""
        return item.size > self.entry_bytes_max

    def told(self, item: Listed, read: Callable[[str], Result | None]) -> Result:
        """Return what is read of a part at its key, where that may be read; ``read`` gives None where it has no bytes.

        Raises:
            AcceleratorDamagedError: it is a base or segment, and not there, or not what memrepo writes.
            LocalCopyStaleError: it is an entry, and not there any more.
            JournalUnreadableError: as ``read`` raises it.
        """
        return (
            self._told_of_joined(item.joined, item, read) if item.joined else self._told_of_entry(item, read)
        )

    def _told_of_joined(self, run: Run, item: Listed, read: Callable[[str], Result | None]) -> Result:
        seq, in_base = run.last, run.is_base
        key = self.layout.base(seq) if in_base else self.layout.segment(run.first, seq)
        try:
            self._require_size(item)
            found = read(key)
        except (NotThereError, JournalDamagedError) as error:
            raise AcceleratorDamagedError(f"{key}: {error}", seq, in_base=in_base) from error
        except JournalUnreadableError as error:
            raise (error.within_base() if in_base else error) from error
        if found is None:
            raise AcceleratorDamagedError(f"{key} has no bytes", seq, in_base=in_base)
        return found

    def _told_of_entry(self, item: Listed, read: Callable[[str], Result | None]) -> Result:
        self._require_size(item)
        try:
            found = read(self.layout.entry(item.seq))
        except NotThereError as error:  # or it is another by now
            raise LocalCopyStaleError(f"entry {item.seq} is not there any more", item.seq) from error
        if found is None:
            raise LocalCopyStaleError(f"entry {item.seq} is a marker", item.seq)
        return found

    def _require_size(self, item: Listed) -> None:
        """Raise ``JournalDamagedError`` where so much was listed that it may not be read."""
        if self.is_refused(item):
            self.over_bound()
            raise JournalDamagedError(
                f"entry {item.seq} is {item.size} bytes, over MEMREPO_ENTRY_BYTES_MAX ({self.entry_bytes_max})",
                item.seq,
            )


def listed_base(seq: int, size: int) -> Listed:
    """Return a base as it is in a listing."""
    return Listed(seq, size, Run(1, seq, is_base=True))


def list_entries(
    store: Store, layout: Layout, first: int, start_after: str, count: int | None = None
) -> ListedEntries:
    """Return the entries after a key, all or so many, of which the first must be ``first``, without a gap.

    Raises:
        JournalDamagedError: there is a gap.
    """
    listed = ListedEntries(first)
    sizes = (
        (seq, item.size)
        for item in store.list(layout.journal, start_after)
        if (seq := layout.entry_seq(item.key)) is not None
    )
    for seq, size in islice(sizes, count):
        if seq != listed.next:
            raise _out_of_order(layout, listed.next, seq)
        listed.append(size)
    return listed


def list_accelerators(store: Store, layout: Layout) -> Accelerators:
    """Return what stands for entries, as far as it is looked at; see ``SEGMENTS_MAX`` and ``BASES_MAX``."""
    bases = deque(store.list(layout.bases), BASES_MAX)
    contents = (item for item in store.list(layout.segments) if item.size >= CONTENT_BYTES_MIN)
    return Accelerators.of(layout, [*bases, *islice(contents, SEGMENTS_MAX)])


def _out_of_order(layout: Layout, expected: int, found: int) -> JournalDamagedError:
    """Return the error for an entry that is not the next: it is out of place, or what lies before it is gone."""
    missing = (
        f"{layout.journal} has a gap: entry {expected} is not there, and {found} is (remove that one, if it is none of "
        "memrepo's)"
    )
    return JournalDamagedError(missing, found if is_stray(found, expected) else expected)
