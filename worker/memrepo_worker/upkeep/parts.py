"""What a journal is folded from, as it is in the store: entries, and what stands for some of them already."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.journal.entry import Head, JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading.contents import ListedOtherwiseError, read_bytes
from memrepo_worker.journal.reading.parts import list_accelerators, list_entries
from memrepo_worker.journal.runs import Run, follow_on
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store
from memrepo_worker.upkeep.part_files import PART_BYTES_MAX, Part, Spool, fetch, read_head

_BATCH_BYTES_MAX = 256 * MIB
_BATCH_ENTRIES_MAX = 1024
_UNLISTED_BYTES = MIB
"""How large an entry is taken to be of which the listing has not said it: others have joined it."""


class Parts:
    """Reads one journal to disk, some of it at a time, as it was listed when this was made.

    Its files lie in ``folder``, which must be there before the first is read, and go away with it.
    """

    def __init__(
        self,
        store: Store,
        layout: Layout,
        executor: Executor,
        entry_bytes_max: int,
        folder: Path,
        recent: Callable[[int], bytes | None] = lambda _: None,
    ) -> None:
        """List it; nothing larger than ``entry_bytes_max`` is read.

        ``recent`` returns an entry's bytes without a request, if it has them.

        Raises:
            JournalDamagedError: it has a gap, or ends before a base or segment does.
        """
        self._store = store
        self._layout = layout
        self._executor = executor
        self.there = list_accelerators(store, layout)
        self._entry_bytes_max = entry_bytes_max
        self._recent = recent
        self._folder = folder
        self._numbers = count(1)
        self._base: Part | None = None
        begin = self.there.end
        self._listed = list_entries(
            store, layout, max(begin, 1), layout.entry(begin - 1) if begin > 1 else ""
        )
        if begin and not self._listed:
            raise JournalDamagedError(f"entry {begin} is not there, with which a base or segment ends", begin)
        self.newest = self._listed.next - 1 if self._listed else 0

    def head(self, seq: int) -> Head:
        """Return what an entry's header says, as it is in the store.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        with _told(seq):
            return read_head(self._store, self._layout.entry(seq), seq, self._entry_bytes_max)

    def base(self) -> Part | None:
        """Return the newest base, if there is one."""
        seq = self.there.base
        if seq and self._base is None:
            self._base = self._accelerator(self._layout.base(seq), seq)
        return self._base

    def segment(self, run: Run) -> Part:
        """Return a segment.

        Raises:
            JournalDamagedError, NewerJournalError: it is none that can be read.
        """
        return self._accelerator(self._layout.segment(run.first, run.last), run.last)

    def _accelerator(self, key: str, seq: int) -> Part:
        try:
            return fetch(self._store, key, seq, self._entry_bytes_max, self._file())
        except (NotThereError, ObjectTooLargeError, JournalDamagedError) as error:
            raise JournalDamagedError(
                f"{key} is damaged: where the entries that it stands for are there, remove it and fold again "
                f"({error})",
                seq,
            ) from error

    def _file(self) -> Path:
        return self._folder / f"part-{next(self._numbers)}"

    def weight(self, run: Run) -> int:
        """Return how many bytes are read where a run is joined."""
        start = self.there.base if run.is_base else run.first - 1
        joined = follow_on(start, self.there.segments, last_max=run.last)
        end = joined[-1].last if joined else start
        return (
            (self.there.base_sizes.get(start, 0) if run.is_base else 0)
            + sum(self.there.segments[part.first, part.last] for part in joined)
            + sum(self._listed.size_of(seq) or 0 for seq in range(end + 1, run.last + 1))
        )

    def between(self, end: int, last: int, *, joined: bool = True) -> Iterator[Sequence[Part]]:
        """Yield what follows on entry ``end``, up to ``last``, some at a time: what is joined already, then entries.

        Segments are taken up to the first that cannot be read; without ``joined`` there are entries alone. The files of
        what was yielded are removed where the next is asked for.
        """
        for run in follow_on(end, self.there.segments, last_max=last) if joined else ():
            try:
                part = self.segment(run)
            except JournalDamagedError:
                break
            yield [part]
            part.pack.path.unlink()
            end = run.last
        for seqs in self._parted(range(end + 1, last + 1), _BATCH_BYTES_MAX, _BATCH_ENTRIES_MAX):
            parts = self._fetched(seqs)
            yield parts
            for path in {part.pack.path for part in parts}:
                path.unlink()

    def _fetched(self, seqs: Sequence[int]) -> list[Part]:
        """Read entries, as many side by side as may be in memory."""
        spool = Spool(self._file())
        parts: list[Part] = []
        for some in self._parted(seqs, PART_BYTES_MAX, _BATCH_ENTRIES_MAX):
            for seq, data in zip(some, self._executor.map(self._recent_or_read, some), strict=True):
                if data is None:
                    with _told(seq):
                        key, path = self._layout.entry(seq), self._file()
                        parts.append(fetch(self._store, key, seq, self._entry_bytes_max, path))
                else:
                    parts.append(spool.add(seq, data))
        spool.close()
        return parts

    def _recent_or_read(self, seq: int) -> bytes | memoryview | None:
        """Return an entry's bytes, or None where they are too many to be in memory, or more than was reckoned with."""
        data = self._recent(seq)
        if data:
            return data
        size = self._size(seq)
        if size > min(PART_BYTES_MAX, self._entry_bytes_max):
            return None
        key = self._layout.entry(seq)
        with _told(seq):
            try:
                return (
                    read_bytes(self._store, key, seq, size)
                    if self._listed.size_of(seq) is not None
                    else self._store.get(key, size).data
                )
            except (ListedOtherwiseError, ObjectTooLargeError):
                return None

    def _parted(self, seqs: Iterable[int], bytes_max: int, entries_max: int) -> Iterator[list[int]]:
        """Yield these entries in order, as many at a time as have so many bytes together, at least one."""
        batch: list[int] = []
        size = 0
        for seq in seqs:
            if batch and (len(batch) >= entries_max or size + self._size(seq) > bytes_max):
                yield batch
                batch, size = [], 0
            batch.append(seq)
            size += self._size(seq)
        if batch:
            yield batch

    def _size(self, seq: int) -> int:
        size = self._listed.size_of(seq)
        return _UNLISTED_BYTES if size is None else size


@contextmanager
def _told(seq: int) -> Iterator[None]:
    """Say which entry is lost, or too large."""
    try:
        yield
    except NotThereError as error:
        raise JournalDamagedError(f"entry {seq} is not there", seq) from error
    except ObjectTooLargeError as error:
        raise JournalDamagedError(f"entry {seq}: {error}, MEMREPO_ENTRY_BYTES_MAX", seq) from error
