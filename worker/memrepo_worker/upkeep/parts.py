"""What a journal is folded from, as it is in the store: entries, and what stands for some of them already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor

from memrepo.limits import MIB
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import Entry, JournalDamagedError, decode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.runs import Run, follow_on
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store

BATCH_BYTES_MAX = 32 * MIB
_BATCH_ENTRIES_MAX = 1024


class Parts:
    """Reads one journal, some of it at a time, as it was listed when this was made."""

    def __init__(
        self,
        store: Store,
        layout: Layout,
        executor: Executor,
        entry_bytes_max: int,
        recent: Callable[[int], bytes | None] = lambda _: None,
    ) -> None:
        """List it; nothing larger than ``entry_bytes_max`` is read.

        ``recent`` returns an entry's bytes without a request, if it has them.

        Raises:
            JournalDamagedError: it has a gap.
        """
        self._store = store
        self._layout = layout
        self._executor = executor
        self.there = Accelerators.of(layout, [*store.list(layout.bases), *store.list(layout.segments)])
        self._entry_bytes_max = entry_bytes_max
        self._recent = recent
        self._base: Entry | None = None
        begin = self.there.end
        self._sizes = {
            seq: item.size
            for item in store.list(layout.journal, layout.entry(begin - 1) if begin > 1 else "")
            if (seq := layout.entry_seq(item.key)) is not None
        }
        for expected, seq in enumerate(self._sizes, start=max(begin, 1)):
            if seq != expected:
                raise JournalDamagedError(
                    f"{layout.journal} has a gap: entry {expected} is not there", expected
                )
        self.newest = max(self._sizes, default=0)

    def entry(self, seq: int) -> Entry:
        """Return an entry as it is in the store.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        key = self._layout.entry(seq)
        try:
            data = self._store.get(key, self._entry_bytes_max).data
        except NotThereError as error:
            raise JournalDamagedError(f"entry {seq} is not there", seq) from error
        except ObjectTooLargeError as error:
            raise JournalDamagedError(f"entry {seq}: {error}, MEMREPO_ENTRY_BYTES_MAX", seq) from error
        if not data:
            raise JournalDamagedError(f"entry {seq} is a marker: the memory is being deleted", seq)
        return decode_entry(seq, data)

    def base(self) -> Entry | None:
        """Return the newest base, if there is one."""
        seq = self.there.base
        if seq and self._base is None:
            self._base = self._accelerator(self._layout.base(seq), seq)
        return self._base

    def segment(self, run: Run) -> Entry:
        """Return a segment.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        return self._accelerator(self._layout.segment(run.first, run.last), run.last)

    def _accelerator(self, key: str, seq: int) -> Entry:
        try:
            return decode_entry(seq, self._store.get(key, self._entry_bytes_max).data)
        except (NotThereError, ObjectTooLargeError, JournalDamagedError) as error:
            raise JournalDamagedError(
                f"{key} is damaged: where the entries that it stands for are there, remove it and fold again "
                f"({error})",
                seq,
            ) from error

    def weight(self, run: Run) -> int:
        """Return how many bytes are read where a run is joined."""
        start = self.there.base if run.is_base else run.first - 1
        joined = follow_on(start, self.there.segments, last_max=run.last)
        end = joined[-1].last if joined else start
        return (
            (self.there.base_sizes.get(start, 0) if run.is_base else 0)
            + sum(self.there.segments[part.first, part.last] for part in joined)
            + sum(self._size(seq) for seq in range(end + 1, run.last + 1))
        )

    def between(self, end: int, last: int, *, joined: bool = True) -> Iterator[Sequence[Entry]]:
        """Yield what follows on entry ``end``, up to ``last``, some at a time: what is joined already, then entries.

        Segments are taken up to the first that cannot be read; without ``joined`` there are entries alone.
        """
        for run in follow_on(end, self.there.segments, last_max=last) if joined else ():
            try:
                part = self.segment(run)
            except JournalDamagedError:
                break
            yield [part]
            end = run.last
        for seqs in self._batches(end + 1, last):
            yield [*self._executor.map(self._recent_or_read, seqs)]

    def _recent_or_read(self, seq: int) -> Entry:
        data = self._recent(seq)
        return decode_entry(seq, data) if data else self.entry(seq)

    def _batches(self, first: int, last: int) -> Iterator[list[int]]:
        batch: list[int] = []
        size = 0
        for seq in range(first, last + 1):
            if batch and (len(batch) >= _BATCH_ENTRIES_MAX or size + self._size(seq) > BATCH_BYTES_MAX):
                yield batch
                batch, size = [], 0
            batch.append(seq)
            size += self._size(seq)
        if batch:
            yield batch

    def _size(self, seq: int) -> int:
        """Return how large an entry is; of one that others joined it was not listed, and does not matter."""
        return self._sizes.get(seq, 0)
