"""Counting and replacing go through a file in steps, and find what Python's own find."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.service.writes.occurrences import count, replaced
from memrepo_worker.threads.giving_way import Pace, keeping

few_letters = st.lists(st.sampled_from([b"a", b"b", b"\n"]), max_size=60).map(b"".join)


@given(few_letters, few_letters.filter(bool), few_letters, st.integers(1, 9))
@example(b"aaaaa", b"aa", b"b", 1)
@example(b"abababab", b"abab", b"", 3)
def test_what_is_found_and_replaced_is_what_python_finds_and_replaces(
    data: bytes, old: bytes, new: bytes, piece_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharingBounds, "piece_bytes", piece_bytes)

        assert count(data, old) == data.count(old)
        assert replaced(data, old, new) == data.replace(old, new)


@pytest.mark.parametrize("old", [b"a", b"a" * 50 + b"b" + b"a" * 48, b"a" * 100_000])
def test_a_large_file_is_gone_through_in_steps(old: bytes) -> None:
    steps: list[float] = []
    clock = iter(range(1_000_000))
    pace = Pace(
        lambda: True, clock=lambda: next(clock) * 0.001, wall=lambda: next(clock) * 0.001, sleep=steps.append
    )
    data = b"a" * (4 << 20)
    with keeping(pace):
        assert replaced(data, old, b"c") == data.replace(old, b"c")
        assert count(data, old) == data.count(old)

    assert len(steps) >= len(data) // max(SharingBounds.piece_bytes, len(old))
