"""What is found of a journal: the newest base, and the entries after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from memrepo.limits import MIB
from memrepo_worker.journal.entry import Entry

ON_DISK_BYTES_MAX = 256 * MIB
"""So much of a journal is taken in at once: until then, what did not fit into memory lies in files."""


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
        weigh: Callable[[Entry], int] = lambda entry: entry.held_bytes,
    ) -> None:
        self.base = base
        self.seq = seq
        self.passed_over = passed_over
        self.fault: Exception | None = None
        self._entries = entries
        self._batch_bytes_max = batch_bytes_max
        self._weigh = weigh

    def batches(self) -> Iterator[list[Entry]]:
        """Yield the entries after the base in order, each once, as many at a time as may be in memory."""
        try:
            yield from batches(self._entries, self._batch_bytes_max, self._weigh)
        except Exception as error:
            self.fault = error
            raise

    def whole(self) -> Opening:
        """Return all of it."""
        return Opening(self.base, tuple(entry for batch in self.batches() for entry in batch))


def batches(
    entries: Iterable[Entry], bytes_max: int, weigh: Callable[[Entry], int] = lambda entry: entry.held_bytes
) -> Iterator[list[Entry]]:
    """Yield entries in order, about ``bytes_max`` bytes of them at a time, at least one.

    Beside what is held in memory, no more than ``ON_DISK_BYTES_MAX`` in all, as the rest of them may lie in files.
    """
    batch: list[Entry] = []
    held = whole = 0
    for entry in entries:
        size = weigh(entry)
        if batch and (held + size > bytes_max or whole + entry.size > ON_DISK_BYTES_MAX):
            yield batch
            batch, held, whole = [], 0, 0
        batch.append(entry)
        held += size
        whole += entry.size
    if batch:
        yield batch


def drained(batch: list[Entry]) -> Iterator[Entry]:
    """Yield the entries of a batch in order, and keep none of them in it: who has taken one may let go of its pack."""
    batch.reverse()
    while batch:
        yield batch.pop()
