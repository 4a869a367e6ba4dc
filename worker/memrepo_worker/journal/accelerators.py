"""Which bases and segments lie beside a journal, as a listing shows it; a reservation (``journal.fence``) is none."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, SEQ_MAX, Layout
from memrepo_worker.journal.runs import Run, follow_on
from memrepo_worker.store.interface import ListedObject


@dataclass(frozen=True)
class Accelerators:
    """The numbers of all bases, in order, and what the segments stand for, with how many bytes each has."""

    bases: tuple[int, ...] = ()
    segments: Mapping[tuple[int, int], int] = field(default_factory=dict)
    base_sizes: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, layout: Layout, listed: Iterable[ListedObject]) -> Accelerators:
        """Return what a listing of bases and segments shows.

        Raises:
            JournalDamagedError: a number cannot be.
        """
        bases: dict[int, int] = {}
        segments: dict[tuple[int, int], int] = {}
        for item in listed:
            if item.size < CONTENT_BYTES_MIN:
                continue
            base, segment = layout.base_seq(item.key), layout.segment_seqs(item.key)
            if base is not None:
                if not 0 < base <= SEQ_MAX:
                    raise JournalDamagedError(f"no base has the number {base}", base, in_base=True)
                bases[base] = item.size
            elif segment is not None and 0 < segment[0] <= segment[1] <= SEQ_MAX:
                segments[segment] = item.size
        return cls(tuple(sorted(bases)), segments, bases)

    @property
    def base(self) -> int:
        """The number of the newest base, 0 where there is none."""
        return self.bases[-1] if self.bases else 0

    @property
    def chain(self) -> tuple[Run, ...]:
        """The segments that follow on the newest base, and on each other."""
        return follow_on(self.base, self.segments)

    @property
    def end(self) -> int:
        """The last entry that the newest base, and what follows on it, stands for."""
        return self.chain[-1].last if self.chain else self.base

    def superseded(self, layout: Layout, listed: Iterable[ListedObject]) -> Iterator[str]:
        """Yield the keys of segments that the newest base or a longer segment stands for, reservations too."""
        order = sorted((first, -last) for first, last in self.segments)
        reach = [0, *accumulate((-minus_last for _, minus_last in order), max)]
        for item in listed:
            segment = layout.segment_seqs(item.key)
            if segment is None:
                continue
            first, last = segment
            # Of others, those that begin as early and end as late come before it in this order.
            if last <= self.base or last <= reach[bisect_left(order, (first, -last))]:
                yield item.key
