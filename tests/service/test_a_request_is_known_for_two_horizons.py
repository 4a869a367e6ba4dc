"""A request is applied once, however late its messages come and whoever's clock is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.errors import RequestExpiredError
from memrepo_worker.store.backends.local import LocalStore
from tests.support.folding import folder, small_runs
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, files, writer

HOUR_S = 3600.0


class Days:
    """Writers over one store, each with an empty cache and a clock of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._count = 0
        self.store = LocalStore(folder / "store")

    def writer_at(self, now_s: float) -> Writer:
        self._count += 1
        return self._stack.enter_context(
            writer(self.store, self._folder / f"cache-{self._count}", now_s=now_s)
        )

    def fold_at(self, now_s: float) -> None:
        """Have a base stand for the entries, whose ledger is what a worker with nothing warm knows of requests then."""
        with small_runs():
            plain = folder(self.store, self._folder / "scratch")
            made = replace(plain, clock=lambda: now_s).fold(AGENT).made
        assert any("/base/" in key for key in made)


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with ExitStack() as stack:
        yield Days(tmp_path, stack)


def messages(one: Writer) -> list[str]:
    return one.messages()


def grow(one: Writer, at_s: float = NOW_S) -> None:
    """Append as many entries as a base takes."""
    for number in range(8):
        one.ask(commit(f"and {number}", enqueued_at=at_s))


def test_a_retry_within_the_horizon_that_is_delivered_again_at_its_own_end_is_applied_once(
    days: Days,
) -> None:
    first = commit("once", request_id="the-same-id")
    retry = first.model_copy(update={"enqueued_at": NOW_S + 23.9 * HOUR_S})
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)
    assert days.writer_at(NOW_S + 23.9 * HOUR_S).ask(retry) == made

    for hours in (24.1, 36.0, 47.8):
        one = days.writer_at(NOW_S + hours * HOUR_S)
        one.ask(commit(f"at {hours}", enqueued_at=NOW_S + hours * HOUR_S))

        assert days.writer_at(NOW_S + hours * HOUR_S).ask(retry).sha == made.sha

    assert messages(one).count("once") == 1


@pytest.mark.parametrize("hours", [25, 49, 24 * 365])
def test_a_worker_whose_clock_runs_ahead_forgets_no_request(days: Days, hours: int) -> None:
    first = commit("once")
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)

    ahead = days.writer_at(NOW_S + hours * HOUR_S)
    with pytest.raises(RequestExpiredError):
        ahead.ask(commit("refused by a wrong clock"))
    ahead.service.close()  # what it remembers goes to disk

    assert days.writer_at(NOW_S).ask(first) == made
    assert ahead.ask(first).sha == made.sha


@pytest.mark.parametrize("hours", [25, 49, 24 * 365])
def test_a_producer_whose_clock_runs_ahead_has_no_request_forgotten(days: Days, hours: int) -> None:
    first = commit("once")
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)
    with pytest.raises(RequestExpiredError):
        begun.ask(commit("from tomorrow", enqueued_at=NOW_S + hours * HOUR_S))

    assert days.writer_at(NOW_S).ask(first) == made


@pytest.mark.parametrize("hours", [25, 49])
def test_a_fold_by_a_clock_that_runs_ahead_forgets_no_request(days: Days, hours: int) -> None:
    first = commit("once")
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)
    grow(begun)

    days.fold_at(NOW_S + hours * HOUR_S)

    assert days.writer_at(NOW_S).ask(first) == made


def test_a_fold_after_a_request_whose_producers_clock_ran_ahead_forgets_no_request(days: Days) -> None:
    first = commit("once")
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)
    with pytest.raises(RequestExpiredError):
        begun.ask(commit("from tomorrow", enqueued_at=NOW_S + 49 * HOUR_S))
    grow(begun)

    days.fold_at(NOW_S)

    assert days.writer_at(NOW_S).ask(first) == made


def test_a_fold_keeps_what_a_retry_may_still_ask_for_at_its_own_horizons_end(days: Days) -> None:
    first = commit("once", request_id="the-same-id")
    retry = first.model_copy(update={"enqueued_at": NOW_S + 23.9 * HOUR_S})
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    made = begun.ask(first)
    later_s = NOW_S + 47.8 * HOUR_S
    grow(days.writer_at(later_s), later_s)

    days.fold_at(later_s)

    assert days.writer_at(later_s).ask(retry).sha == made.sha


@pytest.mark.parametrize("hours", [-25, 25, -24 * 365])
def test_a_read_is_answered_whatever_time_it_names(days: Days, hours: int) -> None:
    begun = days.writer_at(NOW_S)
    made = begun.ask(create())
    read = files().model_copy(update={"enqueued_at": NOW_S + hours * HOUR_S})

    assert begun.ask(read).commit_sha == made.sha


def test_what_no_message_can_carry_any_more_is_forgotten(days: Days) -> None:
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    begun.ask(commit("old"))
    later_s = NOW_S + 49 * HOUR_S
    days.writer_at(later_s).ask(commit("new", enqueued_at=later_s))

    one = days.writer_at(later_s)
    one.messages()

    ledger = one.warm().ledger
    assert len(ledger) == 1


def test_an_id_that_is_used_anew_after_it_was_forgotten_is_applied_once_from_then_on(days: Days) -> None:
    first = commit("on the first day", request_id="the-same-id")
    begun = days.writer_at(NOW_S)
    begun.ask(create())
    begun.ask(first)
    later_s = NOW_S + 72 * HOUR_S
    days.writer_at(later_s).ask(commit("moves the journal's time on", enqueued_at=later_s))
    anew = commit("days later", request_id="the-same-id", enqueued_at=later_s)
    made = days.writer_at(later_s).ask(anew)
    assert made.created
    days.writer_at(later_s).ask(commit("and another", enqueued_at=later_s))

    assert days.writer_at(later_s).ask(anew).sha == made.sha
    assert messages(days.writer_at(later_s)).count("days later") == 1
