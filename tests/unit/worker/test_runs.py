from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from memrepo_worker.journal.runs import SMALLEST, Run, follow_on, runs_of, to_make

LENGTHS = st.integers(0, 3_000_000)


@given(LENGTHS, st.integers(0, 5000))
def test_runs_follow_each_other_from_the_first_entry_to_near_the_newest_and_never_hold_it(
    newest: int, without_refs: int
) -> None:
    runs = runs_of(newest, without_refs)

    assert [run.first for run in runs] == [1, *(run.last + 1 for run in runs)][: len(runs)]
    assert [run.is_base for run in runs] == [True, *[False] * (len(runs) - 1)][: len(runs)]
    assert all(without_refs < run.last < newest for run in runs)
    if newest > without_refs + SMALLEST:
        assert newest - runs[-1].last <= SMALLEST


@given(LENGTHS, st.integers(0, 5000))
def test_what_is_there_is_made_once(newest: int, without_refs: int) -> None:
    runs = runs_of(newest, without_refs)
    base = runs[0].last if runs else 0
    segments = [(run.first, run.last) for run in runs if not run.is_base]

    assert to_make(newest, without_refs, 0, ()) == runs
    assert to_make(newest, without_refs, base, segments) == ()
    assert follow_on(base, segments) == runs[1:]


@given(LENGTHS, st.integers(1, 5000))
def test_a_base_of_another_length_is_gone_on_from(newest: int, base: int) -> None:
    made = to_make(newest, 0, base, ())

    end = base
    for run in made:
        assert run.is_base or run.first == end + 1
        end = run.last
    assert newest - max(end, base) <= SMALLEST or base >= newest


@given(LENGTHS, st.integers(0, 5000), st.integers(SMALLEST, 5000))
def test_what_is_too_large_is_made_in_smaller_runs_also_behind_a_seal(
    newest: int, without_refs: int, entries_max: int
) -> None:
    asked: set[Run] = set()

    def is_too_large(run: Run) -> bool:
        assert run not in asked, "each is parted once"
        asked.add(run)
        return run.last - max(run.first - 1, without_refs if run.is_base else 0) > entries_max

    made = to_make(newest, without_refs, 0, (), is_too_large)

    whole = runs_of(newest, without_refs)
    assert [run.first for run in made] == [1, *(run.last + 1 for run in made)][: len(made)]
    assert [run.is_base for run in made] == [True, *[False] * (len(made) - 1)][: len(made)]
    assert [run.last for run in made][-1:] == [run.last for run in whole][-1:]
    assert all(run.last - max(run.first - 1, without_refs) <= entries_max for run in made)


def test_an_opener_takes_the_longest_that_follow_on() -> None:
    segments = [(65, 128), (65, 2048), (129, 192), (2049, 2112), (2177, 2240)]

    assert follow_on(64, segments) == (Run(65, 2048), Run(2049, 2112))
    assert follow_on(64, segments, last_max=2000) == (Run(65, 128), Run(129, 192))
    assert follow_on(0, segments) == ()


class Bucket:
    """What lies in the store, by size alone."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.size_before = [0]  # of the entries up to a number, all together
        self.base = 0
        self.segments: set[tuple[int, int]] = set()
        self.written = 0

    @property
    def newest(self) -> int:
        return len(self.size_before) - 1

    def append(self) -> None:
        size = self._random.choice((300, 1_000, 4_000, 60_000))
        self.size_before.append(self.size_before[-1] + size)
        self.written += size

    def fold(self) -> None:
        for run in to_make(self.newest, 0, self.base, self.segments):
            self.written += self.size_before[run.last] - self.size_before[run.first - 1]
            if run.is_base:
                self.base = run.last
            else:
                self.segments.add((run.first, run.last))

    def objects_read(self) -> int:
        runs = follow_on(self.base, self.segments)
        end = runs[-1].last if runs else self.base
        return bool(self.base) + len(runs) + self.newest - end


def grow(random: Random, newest: int, fold_every: int) -> Bucket:
    bucket = Bucket(random)
    for seq in range(1, newest + 1):
        bucket.append()
        if seq % fold_every == 1:
            bucket.fold()
            assert bucket.objects_read() <= 150
            assert bucket.written <= 4 * bucket.size_before[-1]
    return bucket


def test_10_000_commits_are_opened_by_at_most_150_objects_and_written_at_most_4_times() -> None:
    bucket = grow(Random(1), 10_000, SMALLEST)

    assert bucket.objects_read() <= 100
    assert bucket.written / bucket.size_before[-1] <= 3


def test_100_000_too() -> None:
    bucket = grow(Random(2), 100_000, SMALLEST)

    assert bucket.objects_read() <= 150
    assert bucket.written / bucket.size_before[-1] <= 4


def test_seldom_folding_writes_less() -> None:
    assert grow(Random(3), 20_000, 1_000).written < grow(Random(3), 20_000, SMALLEST).written
