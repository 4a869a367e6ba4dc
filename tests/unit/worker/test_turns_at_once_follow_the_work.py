"""How many turns work at a time: a few where the store is near, all where it is far, and none of them hangs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Any, cast

import pytest

from memrepo_worker.scheduling.places import HELD_S_MAX, WAITS_S, Places

TURNS_MAX = 16
USED_S = 0.002


@dataclass
class Clock:
    """Says what it is told."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(eq=False)
class Group:
    """What is asked of a group: how long it waits for the store by now, and how long it has waited."""

    store_waited_s: float = 0.0
    store_wait_s: float = 0.0


def begin(places: Places[Any], group: Group | None = None) -> Any:
    begun = cast("Any", group or Group())
    places.begin(begun)
    return begun


def after(
    *waits_s: float, turns: int = 400, used_s: float = USED_S, turns_max: int = TURNS_MAX
) -> Places[Any]:
    """Return the places after turns that waited so long for the store, one after the other."""
    places: Places[Any] = Places(turns_max, Clock())
    for _, waited_s in zip(range(turns), cycle(waits_s), strict=False):
        places.end(begin(places, Group(waited_s)), used_s, well=True)
    return places


class TestTheLimit:
    def test_is_the_most_until_something_is_known(self) -> None:
        assert Places[Any](TURNS_MAX).limit == TURNS_MAX

    @pytest.mark.parametrize(
        ("waited_s", "limit"), [(0.0, 2), (0.001, 3), (0.003, 4), (0.010, 7), (0.030, 16), (5.0, 16)]
    )
    def test_is_as_many_as_keep_the_processor_busy_and_one(self, waited_s: float, limit: int) -> None:
        assert after(waited_s).limit == limit

    def test_is_never_more_than_there_may_be_threads(self) -> None:
        assert after(0.030, turns_max=8).limit == 8
        assert after(0.0, turns_max=1).limit == 1

    def test_turns_that_wait_for_nothing_are_taken_into_account_as_such(self) -> None:
        assert after(0.030, 0.0, 0.0, 0.0).limit in {5, 6}

    def test_longer_waits_beside_short_ones_do_not_raise_it_much(self) -> None:
        """So waits are where too many turns are under way at once."""
        random = Random(1)
        waits_s = [0.003 + random.expovariate(1 / 0.006) for _ in range(400)]
        assert after(*waits_s).limit <= 6

    def test_rises_and_falls_within_a_hundred_turns_with_the_distance_of_the_store(self) -> None:
        places = after(0.003)
        for waited_s, limit in ((0.030, 16), (0.003, 4)):
            for _ in range(100):
                places.end(begin(places, Group(waited_s)), USED_S, well=True)
            assert places.limit == limit

    def test_one_turn_that_waited_very_long_changes_little(self) -> None:
        places = after(0.003)
        places.end(begin(places, Group(60.0)), USED_S, well=True)
        assert places.limit <= 5

    def test_turns_that_failed_say_nothing(self) -> None:
        places = after(0.003)
        for _ in range(100):
            places.end(begin(places, Group(60.0)), USED_S, well=False)
        assert places.limit == 4

    def test_turns_without_a_place_say_nothing(self) -> None:
        places = after(0.003)
        for _ in range(100):
            places.end(cast("Any", Group(60.0)), USED_S, well=True)
        assert places.limit == 4


class TestAPlace:
    def test_is_free_again_after_the_turn(self) -> None:
        places = after(0.003)
        begun = [begin(places) for _ in range(4)]
        assert places.free == 0
        places.end(begun[0], USED_S, well=True)
        assert places.free == 1

    def test_is_given_up_by_who_waits_for_the_store_for_long_and_only_by_him(self) -> None:
        places = after(0.003)
        groups = [Group(store_wait_s=wait_s) for wait_s in (0.0, WAITS_S / 2, WAITS_S, 60.0)]
        for group in groups:
            begin(places, group)
        places.look()
        assert places.free == 2

    def test_is_given_up_by_who_has_it_for_long_whatever_he_does(self) -> None:
        clock = Clock()
        places: Places[Any] = Places(2, clock)
        begin(places)
        clock.now_s += 1.5 * HELD_S_MAX
        begin(places)
        places.look()
        assert places.free == 1

    def test_is_given_up_at_once_by_who_is_going_to_wait_for_long(self) -> None:
        places = after(0.003)
        begun = begin(places)
        places.give_up(begun)
        assert places.free == 4
        places.end(begun, USED_S, well=True)
        assert places.free == 4

    def test_waits_are_learned_of_those_that_gave_it_up_for_a_store_that_is_far(self) -> None:
        places = after(0.003)
        for _ in range(100):
            group = begin(places, Group(0.030, store_wait_s=WAITS_S))
            places.look()
            places.end(group, USED_S, well=True)
        assert places.limit == TURNS_MAX

    def test_nothing_is_kept_of_turns_that_are_over(self) -> None:
        places = after(0.003)
        for wait_s in (0.0, 60.0):
            group = begin(places, Group(store_wait_s=wait_s))
            places.look()
            places.end(group, USED_S, well=True)
        assert not places._began_s
        assert not places._given_up
