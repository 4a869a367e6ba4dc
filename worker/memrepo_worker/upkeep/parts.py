"""What a journal is folded from, as it is in the store: entries, and what stands for some of them already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor

from memrepo.limits import MIB
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import Entry, JournalDamagedError, decode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.runs import Run, follow_on
from memrepo_worker.store.interface import NotThereError, Store

BATCH_BYTES_MAX = 32 * MIB
_BATCH_ENTRIES_MAX = 1024


class Parts:
    """Reads one journal, some of it at a time, as it was listed when this was made."""

    def __init__(self, store: Store, layout: Layout, executor: Executor) -> None:
        """List it.

        Raises:
            JournalDamagedError: it has a gap.
        """
        self._store = store
        self._layout = layout
        self._executor = executor
        self.there = Accelerators.of(layout, [*store.list(layout.bases), *store.list(layout.segments)])
        begin = self.there.base
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
        """Return an entry.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        key = self._layout.entry(seq)
        try:
            data = self._store.get(key).data
        except NotThereError as error:
            raise JournalDamagedError(f"entry {seq} is not there", seq) from error
        if not data:
            raise JournalDamagedError(f"entry {seq} is a marker: the memory is being deleted", seq)
        return decode_entry(seq, data)

    def base(self) -> Entry | None:
        """Return the newest base, if there is one."""
        seq = self.there.base
        return self._accelerator(self._layout.base(seq), seq) if seq else None

    def segment(self, run: Run) -> Entry:
        """Return a segment.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        return self._accelerator(self._layout.segment(run.first, run.last), run.last)

    def _accelerator(self, key: str, seq: int) -> Entry:
        try:
            return decode_entry(seq, self._store.get(key).data)
        except (NotThereError, JournalDamagedError) as error:
            raise JournalDamagedError(
                f"{key} is damaged: where the entries that it stands for are there, remove it and fold again "
                f"({error})",
                seq,
            ) from error

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
            yield [*self._executor.map(self.entry, seqs)]

    def _batches(self, first: int, last: int) -> Iterator[list[int]]:
        batch: list[int] = []
        size = 0
        for seq in range(first, last + 1):
            if batch and (len(batch) >= _BATCH_ENTRIES_MAX or size + self._sizes[seq] > BATCH_BYTES_MAX):
                yield batch
                batch, size = [], 0
            batch.append(seq)
            size += self._sizes[seq]
        if batch:
            yield batch
