"""Which runs of a journal's entries are joined into one object each: a pure function of how long the journal is.

Runs end at fixed numbers, so that whoever folds, and whenever, makes the same ones. The smallest hold 64 entries, and
32 of one size become one of the next (64, 2,048, 65,536, 2,097,152). So an entry is written again once for each size:
all that is written is at most 4 times what is new, up to 2 million entries; and an opener reads at most 31 runs of a
size and the 64 entries that are in none. The first run, which begins with the journal or its seal, is the base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from memrepo_worker.journal.layout import SEQ_MAX

SMALLEST = 64
OF_A_SIZE = 32

_SIZES: list[int] = [SMALLEST]
while _SIZES[-1] * OF_A_SIZE <= SEQ_MAX:
    _SIZES.append(_SIZES[-1] * OF_A_SIZE)


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Entries ``first`` to ``last``. A base stands for all that came before, too: its first is 1."""

    first: int
    last: int
    is_base: bool = False


def runs_of(newest: int, without_refs: int = 0) -> tuple[Run, ...]:
    """Return the runs that a journal of ``newest`` entries is folded into, in order; they follow each other.

    The newest entry is in none: whoever opens the journal keeps that entry's digest, by which it knows its copy again.
    ``without_refs`` is the last entry after which there was no repository (a seal, mostly): there nothing ends.
    """
    ends: list[int] = []
    end = 0
    for size in reversed(_SIZES):
        while end + size < newest:
            end += size
            if end > without_refs:
                ends.append(end)
    return _ending(ends, 1, is_base=True)


def completes_run(newest: int) -> bool:
    """Whether one more run can be made with this entry than before it."""
    return newest > 1 and (newest - 1) % _SIZES[0] == 0


def to_make(
    newest: int,
    without_refs: int,
    base: int,
    segments: Iterable[tuple[int, int]],
    is_too_large: Callable[[Run], bool] = lambda _: False,
) -> tuple[Run, ...]:
    """Return the runs that are not there yet, in order, where a base and these segments are.

    In place of one that would be too large there are those of the next smaller size. A base beyond the first run, made
    by somebody who parts journals differently, is left as it is; what follows on it then begins after it.
    """
    longest: dict[int, int] = {}
    for first, last in segments:
        longest[first] = max(last, longest.get(first, 0))

    def is_there(run: Run) -> bool:
        if run.is_base or run.last <= base:
            return base >= run.last
        return longest.get(max(run.first, base + 1), 0) >= run.last

    wanted: list[Run] = []
    left = [*reversed(runs_of(newest, without_refs))]
    while left:
        run = left.pop()
        if is_there(run):
            continue
        smaller = _parted(run, without_refs) if is_too_large(run) else ()
        if smaller:
            left += reversed(smaller)
        else:
            wanted.append(run if run.is_base else Run(max(run.first, base + 1), run.last))
    return tuple(wanted)


def _parted(run: Run, without_refs: int) -> tuple[Run, ...]:
    """Return the runs of the next smaller size that make up this one; none where there is no smaller size.

    Where nothing may end before ``without_refs``, a smaller size may leave a base in one piece: then the next is tried.
    """
    for size in reversed([size for size in _SIZES if size < run.last - run.first + 1]):
        ends = [end for end in range(run.first - 1 + size, run.last + 1, size) if end > without_refs]
        if len(ends) > 1:
            return _ending(ends, run.first, is_base=run.is_base)
    return ()


def _ending(ends: Sequence[int], first: int, *, is_base: bool) -> tuple[Run, ...]:
    """Return the runs that follow each other from ``first`` on and end so."""
    firsts = [first, *(end + 1 for end in ends)]
    return tuple(
        Run(begin, end, is_base=is_base and begin == first) for begin, end in zip(firsts, ends, strict=False)
    )


def follow_on(end: int, segments: Iterable[tuple[int, int]], last_max: int = SEQ_MAX) -> tuple[Run, ...]:
    """Return the segments that follow on entry ``end`` and on each other, the longest of those that begin there."""
    longest: dict[int, int] = {}
    for first, last in segments:
        if first <= last <= last_max:
            longest[first] = max(last, longest.get(first, 0))
    found = []
    while end + 1 in longest:
        found.append(Run(end + 1, longest[end + 1]))
        end = found[-1].last
    return tuple(found)
