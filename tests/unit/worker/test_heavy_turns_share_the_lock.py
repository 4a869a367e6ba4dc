"""While a heavy group is served, threads that compute let Python's lock go for the others more often."""

from __future__ import annotations

import pytest

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.scheduling.lock_sharing import LockSharing

USUAL_S = 0.005


def sharing() -> tuple[LockSharing, list[float]]:
    set_to: list[float] = []
    return LockSharing(lambda: USUAL_S, set_to.append), set_to


def test_light_groups_change_nothing() -> None:
    shared, set_to = sharing()
    with shared.serving(heavy=False):
        pass
    assert set_to == []


def test_the_interval_is_short_from_the_first_heavy_group_to_the_end_of_the_last() -> None:
    shared, set_to = sharing()
    with shared.serving(heavy=True):
        assert set_to == [SharingBounds.switch_interval_s]
        with shared.serving(heavy=True), shared.serving(heavy=False):
            assert set_to == [SharingBounds.switch_interval_s]
        assert set_to == [SharingBounds.switch_interval_s]
    assert set_to == [SharingBounds.switch_interval_s, USUAL_S]


def test_a_heavy_group_that_fails_leaves_the_usual_interval() -> None:
    shared, set_to = sharing()
    with pytest.raises(RuntimeError), shared.serving(heavy=True):
        raise RuntimeError
    assert set_to[-1] == USUAL_S


def test_a_group_that_turns_out_to_be_heavy_is_so_once_until_it_is_served() -> None:
    shared, set_to = sharing()
    with shared.serving(heavy=False) as heavy_after_all:
        for _ in range(2):
            heavy_after_all()
        assert set_to == [SharingBounds.switch_interval_s]
    assert set_to == [SharingBounds.switch_interval_s, USUAL_S]


def test_what_is_said_when_a_group_was_served_changes_nothing_any_more() -> None:
    shared, set_to = sharing()
    with shared.serving(heavy=False) as heavy_after_all:
        pass
    heavy_after_all()
    assert set_to == []
