"""Which entry was replaced: the next does not follow on it, and what stands for it says which is not right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo_worker.inspection.damage import Damage
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.store.backends.local import LocalStore
from tests.damage.journals import ENTRIES, Journal, entry, flipped, put
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S

Verify = Callable[[Journal], list[tuple[str, str]]]


@pytest.fixture
def damages(tmp_path: Path) -> Iterator[Callable[[Journal], tuple[Damage, ...]]]:
    store = LocalStore(tmp_path / "store")
    with ThreadPoolExecutor(4) as executor:

        def damages(journal: Journal) -> tuple[Damage, ...]:
            put(store, AGENT, journal)
            verifier = Verifier(store, stock_git(), executor, lambda: NOW_S, tmp_path / "scratch")
            return verifier.verify(AGENT).damages

        yield damages


@pytest.fixture
def verify(damages: Callable[[Journal], tuple[Damage, ...]]) -> Verify:
    """Verify such a memory; return the name and kind of each damage."""
    prefix = "acme/agent-1/repo.git/"
    return lambda journal: [(each.key.removeprefix(prefix), each.kind.value) for each in damages(journal)]


@pytest.mark.parametrize("place", [1, 2, 5, 8, 9, 11, 12, 13])
def test_it_is_another_memorys_first_entry(
    sound: Journal, anothers: Journal, verify: Verify, place: int
) -> None:
    """Which builds on nothing: it is the next that does not follow."""
    named = place if place <= 12 else place + 1  # nothing stands for the last three
    assert verify({**sound, entry(place): anothers[entry(1)]}) == [(entry(named), "disconnected")]


@pytest.mark.parametrize("place", [3, 8, 10, 14, ENTRIES])
@pytest.mark.parametrize("back", [1, 2])
def test_it_is_a_copy_of_an_earlier_one(sound: Journal, verify: Verify, place: int, back: int) -> None:
    assert verify({**sound, entry(place): sound[entry(place - back)]}) == [(entry(place), "disconnected")]


def test_where_nothing_stands_for_it_both_are_told(
    sound: Journal, anothers: Journal, damages: Callable[[Journal], tuple[Damage, ...]]
) -> None:
    (found,) = damages({**sound, entry(13): anothers[entry(1)]})

    assert "it does not follow on entry 13: one of the two was replaced" in found.detail


@pytest.mark.parametrize("second", ["missing", "checksum", "disconnected"])
def test_several_are_named_where_something_stands_for_them(
    sound: Journal, anothers: Journal, verify: Verify, second: str
) -> None:
    journal = {**sound, entry(3): anothers[entry(3)]}
    if second == "missing":
        del journal[entry(6)]
    else:
        journal[entry(6)] = flipped(sound[entry(6)]) if second == "checksum" else anothers[entry(6)]

    assert sorted(verify(journal)) == [(entry(3), "disconnected"), (entry(6), second)]


def test_what_is_damaged_after_what_something_stands_for_is_named_too(
    sound: Journal, anothers: Journal, verify: Verify
) -> None:
    journal = {**sound, entry(2): flipped(sound[entry(2)]), entry(14): anothers[entry(14)]}

    assert verify(journal) == [(entry(2), "checksum"), (entry(14), "disconnected")]


def test_the_words_are_not_gits(
    sound: Journal, anothers: Journal, damages: Callable[[Journal], tuple[Damage, ...]]
) -> None:
    (found,) = damages({**sound, entry(13): anothers[entry(13)]})

    assert "neither in it nor before it: probably another memory's" in found.detail
    assert "git " not in found.detail
