"""The parts of a journal as a listing shows them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from typing_extensions import override

from memrepo_worker.journal.runs import Run


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as it is in a listing, or the base or segment that ends with it: then ``joined`` says which."""

    seq: int
    size: int
    joined: Run | None = None


class ListedEntries(Sequence[Listed]):
    """Entries that follow each other, from ``first`` on, by their sizes: 8 bytes for each, and no more.

    So are those of a slice, which has no step.
    """

    def __init__(self, first: int, sizes: array[int] | None = None) -> None:
        self.first = first
        self._sizes = array("Q") if sizes is None else sizes

    @property
    def next(self) -> int:
        """The number of the entry that follows on the last."""
        return self.first + len(self._sizes)

    def append(self, size: int) -> None:
        """Add the next one."""
        self._sizes.append(size)

    def size_of(self, seq: int) -> int | None:
        """Return how large an entry is; None where it is none of these."""
        return self._sizes[seq - self.first] if self.first <= seq < self.next else None

    @override
    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Listed: ...
    @overload
    def __getitem__(self, index: slice) -> ListedEntries: ...
    @override
    def __getitem__(self, index: int | slice) -> Listed | ListedEntries:
        places = range(len(self._sizes))[index]
        if isinstance(places, range):
            return ListedEntries(self.first + places.start, self._sizes[places.start : places.stop])
        return Listed(self.first + places, self._sizes[places])
