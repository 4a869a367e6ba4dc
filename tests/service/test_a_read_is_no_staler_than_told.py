"""Workers of two brokers on one store: what the one commits, reads through the other see within a stated time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError
from memrepo_worker.settings import WorkerSettings, shown
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hand_clock import HandClock
from tests.support.writers import Writer, commit, create, writer


@contextmanager
def blue_and_green(
    store: LocalStore, folder: Path, tip_proof_s: float | None
) -> Iterator[tuple[Writer, Writer, HandClock]]:
    """Two workers that know nothing of each other; the clock is the first one's."""
    time = HandClock()
    with (
        writer(store, folder / "blue", tip_proof_s=tip_proof_s, monotonic=time) as blue,
        writer(store, folder / "green") as green,
    ):
        blue.ask(create())
        yield blue, green, time


def probes(of: Writer) -> int:
    """Every request to the store that asks, whatever it asks by."""
    counts = of.counters.snapshot()
    return sum(counts.get(f"store.{kind}.requests", 0) for kind in ("get", "list"))


def test_a_read_sees_what_another_broker_was_told_that_many_seconds_ago(
    store: LocalStore, tmp_path: Path
) -> None:
    with blue_and_green(store, tmp_path, 30) as (blue, green, time):
        assert "late" not in blue.texts()
        green.ask(commit("late"))
        time.now_s += 30.0

        assert "late" in blue.texts()


def test_within_that_time_reads_ask_the_store_nothing(store: LocalStore, tmp_path: Path) -> None:
    with blue_and_green(store, tmp_path, 30) as (blue, _green, time):
        blue.texts()
        before = probes(blue)
        for _ in range(10):
            time.now_s += 2.9
            blue.texts()
        assert probes(blue) == before
        time.now_s += 2.9
        blue.texts()
        assert probes(blue) == before + 1, "and one request when the time is over"


def test_with_0_each_read_asks(store: LocalStore, tmp_path: Path) -> None:
    with blue_and_green(store, tmp_path, 0) as (blue, green, _time):
        green.ask(commit("first"))
        assert "first" in blue.texts()
        green.ask(commit("second"))
        assert "second" in blue.texts()


def test_a_write_is_a_proof_and_needs_none(store: LocalStore, tmp_path: Path) -> None:
    with blue_and_green(store, tmp_path, 30) as (blue, _green, time):
        before = probes(blue)
        for number in range(3):
            time.now_s += 31.0
            blue.ask(commit(f"note {number}"))
        blue.texts()
        assert probes(blue) == before


def test_a_proof_is_as_old_as_its_question(store: LocalStore, tmp_path: Path) -> None:
    """The store may answer late: what was committed meanwhile is not in its answer."""
    time = HandClock()
    with (
        writer(store, tmp_path / "green") as green,
        writer(store, tmp_path / "blue", tip_proof_s=30, monotonic=time) as blue,
    ):
        green.ask(create())
        begun_s = time.now_s
        blue.texts()
        proven_at_s = blue.warm().trust.proven_at_s
        assert proven_at_s == begun_s


def test_without_the_setting_a_proof_lasts_as_long_as_the_lease(store: LocalStore, tmp_path: Path) -> None:
    with blue_and_green(store, tmp_path, None) as (blue, green, time):
        green.ask(commit("late"))
        time.now_s += 1e6
        assert "late" not in blue.texts(), "it is one broker's workers that a lease speaks of"
        blue.new_lease()
        assert "late" in blue.texts()


@pytest.mark.parametrize(
    ("text", "value", "told"),
    [("", None, "off"), ("off", None, "off"), ("0", 0.0, "0.0"), ("30", 30.0, "30.0")],
)
def test_the_setting_is_a_number_of_seconds_or_off(text: str, value: float | None, told: str) -> None:
    settings = WorkerSettings.from_env({"MEMREPO_TIP_PROOF_S": text})
    assert settings.tip_proof_s == value
    assert shown(settings)["MEMREPO_TIP_PROOF_S"] == told


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "90000"])
def test_what_is_no_number_of_seconds_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="MEMREPO_TIP_PROOF_S"):
        WorkerSettings.from_env({"MEMREPO_TIP_PROOF_S": text})
