"""The best common ancestors of commits, as ``git merge-base --all`` finds them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection

from memrepo_worker.git.reader import Reader

_ONE, _TWO, _STALE, _FOUND = 1, 2, 4, 8
_BOTH = _ONE | _TWO


class _Paint:
    """Marks commits by what they are ancestors of, newest first, until nothing new can be found."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.marks: dict[str, int] = {}
        self._queue: list[tuple[int, int, str]] = []
        self._queued: Counter[str] = Counter()
        self._live = 0
        self._serial = 0

    def mark(self, sha: str, marks: int) -> None:
        """Mark a commit, and have its parents marked, unless it has these marks already."""
        before = self.marks.get(sha, 0)
        if before & marks == marks and sha in self.marks:
            return
        after = before | marks
        if after & _STALE and not before & _STALE:
            self._live -= self._queued[sha]
        self.marks[sha] = after
        self._reader.walked()
        date = self._reader.commit(sha).committer.timestamp
        heapq.heappush(self._queue, (-date, self._serial, sha))
        self._serial += 1
        self._queued[sha] += 1
        self._live += not after & _STALE

    def run(self) -> list[str]:
        """Return the commits that are ancestors of both sides and of no other such commit that was met, newest first.

        It ends where all that is left to look at are ancestors of what was found.
        """
        found: list[str] = []
        while self._live:
            _, _, sha = heapq.heappop(self._queue)
            marks = self.marks[sha]
            self._queued[sha] -= 1
            self._live -= not marks & _STALE
            told = marks & (_BOTH | _STALE)
            if told == _BOTH:
                if not marks & _FOUND:
                    self.marks[sha] |= _FOUND
                    found.append(sha)
                told |= _STALE
            for parent in self._reader.commit(sha).parents:
                self.mark(parent, told)
        return [sha for sha in found if not self.marks[sha] & _STALE]


def merge_bases(reader: Reader, ones: Collection[str], twos: Collection[str]) -> list[str]:
    """Return the best common ancestors of any of ``ones`` and any of ``twos``, newest first; none of another's."""
    found = _common(reader, ones, twos)
    if len(found) < 2:
        return found
    # Dates may run backwards in histories that others wrote: then an ancestor of another was found, too.
    return [
        sha for sha in found if not any(other != sha and is_ancestor(reader, sha, other) for other in found)
    ]


def is_ancestor(reader: Reader, old: str, new: str) -> bool:
    """Whether ``old`` is ``new``, or comes before it."""
    return old in _common(reader, (old,), (new,))


def _common(reader: Reader, ones: Collection[str], twos: Collection[str]) -> list[str]:
    same = set(ones) & set(twos)
    if same:
        return sorted(same)
    paint = _Paint(reader)
    for sha in ones:
        paint.mark(sha, _ONE)
    for sha in twos:
        paint.mark(sha, _TWO)
    return paint.run()
