"""How much of its bounds a turn has used."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from memrepo.clock import Clock
from memrepo.errors import TooLargeError
from memrepo.models import (
    ChangeFeed,
    Diff,
    FileInfo,
    Match,
    MemoryCommit,
    MemoryFile,
    MemoryPage,
    MergePreview,
    Snapshot,
)
from memrepo_worker.bounds import TURN_RESULTS_BYTES, TURN_TIME, Bounds
from memrepo_worker.observe import Observer, store_waited_s
from memrepo_worker.threads.giving_way import rested_s

_ITEM_BYTES = 500
"""What a small part of a result takes as an object, roughly: a line of a history, a file's name and size."""

_READ_TURNS_MAX = 10
"""How many times a turn's time one read may take: what is asked of many files or commits is answered, too."""


class TurnMeter:
    """Measures one turn from when it is made."""

    def __init__(self, bounds: Bounds, monotonic: Clock, observer: Observer) -> None:
        self._bounds = bounds
        self._monotonic = monotonic
        self._observer = observer
        self._began_s = monotonic() - store_waited_s() - rested_s()
        self._results_bytes = 0

    @property
    def is_time_over(self) -> bool:
        """Whether our own work has taken as long as a turn may; waiting for the store, or others, is no work."""
        return self._worked_s() > self._bounds.turn_time_s

    def require_read_time(self) -> None:
        """Raise ``TooLargeError`` where one read, begun with this, has taken as long as it may.

        A turn ends only between requests. One that is long by itself would keep a thread, and its agent, without end.
        """
        seconds_max = _READ_TURNS_MAX * self._bounds.turn_time_s
        if self._worked_s() > seconds_max:
            self._observer.count(TURN_TIME)
            raise TooLargeError.of(
                "ref",
                f"takes longer to look through than the {seconds_max:g} s that one read may: ask for less, for example "
                "by a path, prefix or limit, or raise MEMREPO_TURN_TIME_S at the workers",
                bound="turn_time_s",
            )

    def _worked_s(self) -> float:
        return self._monotonic() - store_waited_s() - rested_s() - self._began_s

    def add(self, result: object) -> None:
        """Note a result that is in memory until the turn's results are told."""
        self._results_bytes += size_of(result)

    @property
    def is_over(self) -> bool:
        """Whether a request that is left should go on in another turn."""
        return self._has_full_results or self.is_time_over

    def count_over(self) -> None:
        """Count which bound it was that ended the turn."""
        self._observer.count(TURN_RESULTS_BYTES if self._has_full_results else TURN_TIME)

    @property
    def _has_full_results(self) -> bool:
        return self._results_bytes > self._bounds.turn_results_bytes_max


def size_of(result: object) -> int:
    """Return how many bytes a result takes in memory, roughly."""
    if isinstance(result, MemoryFile):
        return _ITEM_BYTES + result.size
    if isinstance(result, Diff):
        return sum(_ITEM_BYTES + len(file.patch) for file in result.files)
    if isinstance(result, MemoryCommit):
        return _ITEM_BYTES + len(result.message) + sum(map(len, result.files_changed))
    if isinstance(result, ChangeFeed):
        return sum(_ITEM_BYTES + 100 * (len(one.commits) + len(one.request_ids)) for one in result)
    if isinstance(result, Match):
        return _ITEM_BYTES + sum(map(len, (result.path, result.text, *result.before, *result.after)))
    if isinstance(result, FileInfo):
        return _ITEM_BYTES + len(result.path)
    if isinstance(result, Snapshot | MergePreview | MemoryPage | list):
        return sum(map(size_of, _parts(result)))
    return _ITEM_BYTES


def _parts(result: Snapshot | MergePreview | MemoryPage | list[object]) -> Iterable[object]:
    if isinstance(result, Snapshot):
        return result.values()
    if isinstance(result, MergePreview):
        sides = (side for one in result.conflicts for side in (one.base, one.ours, one.theirs))
        return chain(result.files_changed, (side for side in sides if side is not None))
    return result
