"""While a heavy group is served, threads that compute let Python's lock go for the others more often."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from memrepo_worker.scheduling.heavy import HEAVY_BYTES, HEAVY_REQUESTS, SHORT_INTERVAL_S, LockSharing

USUAL_S = 0.005


@dataclass(frozen=True)
class Parked:
    """A parked request, as far as its weight goes."""

    size_bytes: int


LIGHT = [Parked(1)] * (HEAVY_REQUESTS - 1)
MANY = [*LIGHT, *LIGHT]
LARGE = [Parked(HEAVY_BYTES)]


def sharing() -> tuple[LockSharing, list[float]]:
    set_to: list[float] = []
    return LockSharing(lambda: USUAL_S, set_to.append), set_to


def test_light_groups_change_nothing() -> None:
    shared, set_to = sharing()
    with shared.serving(LIGHT):
        pass
    assert set_to == []


@pytest.mark.parametrize("heavy", [MANY, LARGE])
def test_the_interval_is_short_from_the_first_heavy_group_to_the_end_of_the_last(
    heavy: list[Parked],
) -> None:
    shared, set_to = sharing()
    with shared.serving(heavy):
        assert set_to == [SHORT_INTERVAL_S]
        with shared.serving(LARGE), shared.serving(LIGHT):
            assert set_to == [SHORT_INTERVAL_S]
        assert set_to == [SHORT_INTERVAL_S]
    assert set_to == [SHORT_INTERVAL_S, USUAL_S]


def test_a_heavy_group_that_fails_leaves_the_usual_interval() -> None:
    shared, set_to = sharing()
    with pytest.raises(RuntimeError), shared.serving(LARGE):
        raise RuntimeError
    assert set_to[-1] == USUAL_S
