"""A thread that computes for long rests as long as it has computed, while others want Python's lock, too."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import sha1

import pytest

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.git.compare import Comparison, compare_with_nothing, count_one_change, lines_of
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, is_whole
from memrepo_worker.threads.giving_way import (
    ComputingRate,
    Pace,
    Rates,
    SendingRate,
    give_way,
    joined,
    keeping,
    pieces,
    rested_s,
    send_slowly,
)

LARGE = os.urandom(5 * SharingBounds.piece_bytes + 7)


@dataclass
class Thread:
    """A thread's clocks, and the rests that it made."""

    is_shared: bool = True
    now_s: float = 100.0
    wall_s: float = 100.0
    rests: list[float] = field(default_factory=list)

    def pace(self, grace_s: float = 0.0, rates: Rates | None = None) -> Pace:
        return Pace(
            lambda: self.is_shared,
            grace_s=grace_s,
            rates=rates,
            clock=lambda: self.now_s,
            wall=lambda: self.wall_s,
            sleep=self.sleep,
        )

    def pace_of_steps(self) -> Pace:
        """Return one for which as much time passes between two looks at a clock as makes a rest due."""

        def tick() -> float:
            self.now_s += SharingBounds.step_s
            return self.now_s

        return Pace(lambda: True, clock=tick, wall=tick, sleep=self.rests.append)

    def compute(self, seconds: float) -> None:
        self.now_s += seconds
        self.wall_s += seconds
        give_way()

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.wall_s += seconds


def test_it_rests_as_long_as_it_computed() -> None:
    thread = Thread()
    with keeping(thread.pace()):
        for _ in range(10):
            thread.compute(0.6 * SharingBounds.step_s)
        rest_s = 1.2 * SharingBounds.rest_ratio * SharingBounds.step_s
        assert thread.rests == pytest.approx([rest_s] * 5)
        assert rested_s() == pytest.approx(5 * rest_s)


def test_no_rest_is_longer_than_a_bound() -> None:
    thread = Thread()
    with keeping(thread.pace()):
        thread.compute(10.0)
    assert thread.rests == pytest.approx([SharingBounds.step_rest_s_max])


def test_it_does_not_rest_while_nobody_else_wants_the_lock() -> None:
    thread = Thread(is_shared=False)
    with keeping(thread.pace()):
        for _ in range(10):
            thread.compute(SharingBounds.step_s)
        assert rested_s() == 0
    assert thread.rests == []


def test_what_is_short_is_not_held_up() -> None:
    thread = Thread()
    with keeping(thread.pace(grace_s=0.02)):
        for _ in range(19):
            thread.compute(0.001)
        assert thread.rests == []
        for _ in range(5):
            thread.compute(0.001)
    assert len(thread.rests) >= 4


def test_what_takes_longer_than_it_seemed_to_says_so() -> None:
    thread, said = Thread(), list[float]()
    pace = thread.pace(grace_s=0.02)
    pace.on_long = lambda: said.append(thread.now_s)
    with keeping(pace):
        for _ in range(19):
            thread.compute(0.001)
        assert said == []
        thread.compute(0.002)
    assert len(said) == 1


def test_a_thread_that_keeps_no_pace_never_rests() -> None:
    thread = Thread()
    thread.compute(10.0)
    assert thread.rests == []
    assert rested_s() == 0


@pytest.mark.parametrize("size", [0, 1, SharingBounds.piece_bytes, SharingBounds.piece_bytes + 1, len(LARGE)])
def test_pieces_are_the_whole(size: int) -> None:
    assert b"".join(pieces(LARGE[:size])) == LARGE[:size]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"a"],
        [b"a", LARGE],
        [LARGE, b"", bytearray(LARGE), memoryview(b"z")],
        [LARGE[: 1 + number % 3000] for number in range(700)],
        [b"a", LARGE, *[LARGE[:1000]] * 100, LARGE, b"b"],
    ],
)
def test_parts_are_joined(parts: list[bytes | bytearray | memoryview]) -> None:
    assert joined(parts) == b"".join(parts)


def test_a_large_file_is_named_packed_and_joined_in_steps() -> None:
    thread = Thread()
    item = GitObject(Kind.BLOB, LARGE)
    with keeping(thread.pace_of_steps()):
        sha = object_id(item)
        assert len(thread.rests) >= 5
        pack = encode_pack({sha: item})
    assert len(thread.rests) >= 15  # a step for each piece: named, compressed, joined
    assert sha == sha1(b"blob %d\0" % len(LARGE) + LARGE, usedforsecurity=False).hexdigest()
    assert is_whole(pack.data)


def test_lines_of_a_large_file_are_counted_and_its_patch_is_made_in_steps() -> None:
    thread = Thread()
    data = b"line\n" * (len(LARGE) // 5)
    with keeping(thread.pace_of_steps()):
        assert lines_of(data) == len(data) // 5
        counted = len(thread.rests)
        assert counted >= 5
        patch = compare_with_nothing(b"", data).patch("a.md")
    assert len(thread.rests) >= counted + 15, "counted, signed, joined and read"
    assert patch.count("\n+line") == len(data) // 5


def test_a_line_is_looked_for_among_many_in_steps() -> None:
    thread = Thread()
    data = b"other\n" * (len(LARGE) // 6)
    with keeping(thread.pace_of_steps()):
        counted = len(thread.rests)
        lines_of(data)
        once = len(thread.rests) - counted
        assert count_one_change(b"line\n", data) == Comparison(len(data) // 6, 1)
        assert count_one_change(b"line\n", data + b"line\nlast\n") is None
    assert len(thread.rests) >= 6 * once, "its lines are counted, and looked through"


class TestWhatSeveralCompute:
    """However many compute at a time, they rest as if one of them had done it all."""

    def test_each_rests_for_what_the_others_have_computed_beside_it_too(self) -> None:
        rates = Rates(computing=ComputingRate(lambda: 100.0))
        beside = [Thread() for _ in range(4)]
        for thread in beside:
            with keeping(thread.pace(rates=rates)):
                thread.compute(0.004)
        assert [rest for thread in beside for rest in thread.rests] == pytest.approx(
            [0.004, 0.012, 0.020, 0.028]
        )

    def test_what_was_not_used_is_not_saved_up(self) -> None:
        now_s = [100.0]
        rate = ComputingRate(lambda: now_s[0])
        assert rate.take(0.004) == pytest.approx(0.004)
        now_s[0] += 10.0
        assert rate.take(0.004) == pytest.approx(0.004)

    def test_what_others_compute_for_a_turn_is_the_turns(self) -> None:
        thread, said = Thread(), list[float]()
        pace = thread.pace(grace_s=0.02)
        pace.on_long = lambda: said.append(0)
        assert [pace.owe(0.004) for _ in range(5)] == [0.0] * 5
        assert said == []
        assert pace.owe(0.004) == pytest.approx(0.004)
        assert said == [0]
        assert pace.used_elsewhere_s == pytest.approx(0.024)

    def test_nothing_is_owed_while_nobody_else_wants_the_lock(self) -> None:
        pace = Thread(is_shared=False).pace()
        assert pace.owe(0.004) == 0.0
        assert pace.used_elsewhere_s == 0.004


class TestWhatIsSent:
    """A large body leaves a server time for the small ones of others."""

    def test_all_heavy_threads_together_send_no_more_than_the_rate(self) -> None:
        thread = Thread()
        rate = SendingRate(1000, lambda: thread.now_s)
        for _ in range(2):  # the rate is the worker's, a pace each turn's
            with keeping(thread.pace(rates=Rates(rate))):
                send_slowly(500)
        assert thread.rests == pytest.approx([0.5, 1.0])
        thread.now_s += 10.0  # what was not used is not saved up
        with keeping(thread.pace(rates=Rates(rate))):
            send_slowly(500)
        assert thread.rests == pytest.approx([0.5, 1.0, 0.5])

    def test_it_is_no_rest_from_computing(self) -> None:
        thread = Thread()
        with keeping(thread.pace()):
            send_slowly(SharingBounds.sent_bytes_per_s)
            assert thread.rests == pytest.approx([1.0])
            assert rested_s() == 0

    def test_small_bodies_are_sent_at_once(self) -> None:
        thread = Thread()
        with keeping(thread.pace()):
            send_slowly(2_000)
        assert thread.rests == []

    def test_nothing_is_slow_while_nobody_else_sends(self) -> None:
        thread = Thread(is_shared=False)
        with keeping(thread.pace()):
            send_slowly(SharingBounds.sent_bytes_per_s)
        send_slowly(SharingBounds.sent_bytes_per_s)  # nor where a thread keeps no pace
        assert thread.rests == []
