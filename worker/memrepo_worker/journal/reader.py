"""Reading a journal: all of it for a cold open, or what was added since for a warm repository.

A cold open takes three sequential rounds: list the bases; get the newest and list the entries after it; get those
entries at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

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

Item = TypeVar("Item")
Result = TypeVar("Result")


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


@dataclass(frozen=True)
class JournalReader:
    """Reads one agent's journal. ``executor`` runs the requests that may go side by side."""

    store: Store
    layout: Layout
    executor: Executor

    def open(self) -> Opening:
        """Read the whole journal.

        Raises:
            JournalDamagedError: it has a gap or a broken entry, also on looking again.
            NewerJournalError: after its newest base it has what this version does not know.
            UnavailableError, RefusedError: the store cannot be read.
        """
        for _ in range(_LOOKS_MAX - 1):
            try:
                return self._open_once()
            except (JournalUnreadableError, LocalCopyStaleError, NotThereError):
                # A delete or a fold may have moved things between two requests.
                continue
        try:
            return self._open_once()
        except (LocalCopyStaleError, NotThereError) as error:
            raise JournalDamagedError(
                f"{self.layout.prefix} does not hold still or lacks a part: {error}"
            ) from error

    def since(self, seq: int) -> tuple[Entry, ...]:
        """Return the entries after ``seq``, without a gap; one request when there are none.

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
        return tuple(self._all(self._entry, seqs[1:]))

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

    def _open_once(self) -> Opening:
        newest = self._newest_base()
        base = self.executor.submit(self._base, newest) if newest else None
        entries = self._entries_after(newest)
        return Opening(base.result() if base else None, entries)

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

    def _entries_after(self, base: int) -> tuple[Entry, ...]:
        """Return the entries after a base, 0 for all; the entry that the base ends with is there, too."""
        if base:
            seqs = self._listed_from(base)
            if seqs[:1] != [base]:
                raise JournalDamagedError(
                    f"base {base} stands for entries up to one that is not there", base, in_base=True
                )
            return tuple(self._all(self._entry, seqs[1:]))
        return tuple(self._all(self._entry, self._listed_from(1)))

    def _listed_from(self, first: int) -> list[int]:
        """Return the numbers of the entries from ``first`` on, without a gap; none where that one is not there."""
        start_after = self.layout.entry(first - 1) if first > 1 else ""
        listed = [
            self.layout.entry_seq(item.key) for item in self.store.list(self.layout.journal, start_after)
        ]
        seqs = [found for found in listed if found is not None]
        for expected, found in enumerate(seqs, start=first):
            if found != expected:
                raise self._out_of_order(expected, found)
        return seqs

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

    def _all(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        return self.executor.map(function, items)
