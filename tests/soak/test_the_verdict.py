"""The soak's verdict names what went wrong, each kind by itself."""

from __future__ import annotations

import math

from tests.soak.clients import Asked, Attempt
from tests.soak.told import judge_agent

HISTORY = [("sha-1", "one"), ("sha-2", "two")]


def commit(request_id: str, place: int, outcome: str = "done", sha: str = "", **values: bool) -> Asked:
    return Asked("a", False, request_id, attempts=[Attempt(place, 0.0, 1.0, outcome, sha)], **values)


def read(place: int, sha: str) -> Asked:
    return Asked("a", True, "read", attempts=[Attempt(place, 0.0, 1.0, "done", sha)])


def both() -> list[Asked]:
    return [commit("one", 1, sha="sha-1"), commit("two", 2, sha="sha-2")]


def wrong(asked: list[Asked], history: list[tuple[str, str]] = HISTORY) -> dict[str, int]:
    return judge_agent(asked, history, []).wrong


def test_nothing_is_wrong_where_all_is_as_it_was_told() -> None:
    assert wrong([*both(), read(3, "sha-2"), commit("three", 4, "cancelled", cancel_asked=True)]) == {}


def test_a_commit_that_was_told_and_is_not_there_is_lost() -> None:
    assert wrong(both(), HISTORY[:1]) == {"lost": 1}


def test_a_request_of_which_nothing_was_said_is_lost() -> None:
    assert wrong([*both(), commit("three", 3, outcome="")]) == {"lost": 1}


def test_a_commit_that_is_there_twice_is_doubled() -> None:
    assert wrong(both(), [*HISTORY, ("sha-3", "two")])["doubled"] == 1


def test_a_commit_that_nobody_asked_for_is_foreign() -> None:
    assert wrong(both(), [*HISTORY, ("sha-3", "another")]) == {"foreign": 1}


def test_a_commit_that_passed_an_earlier_one_is_reordered() -> None:
    asked = [commit("one", 2, sha="sha-1"), commit("two", 1, sha="sha-2")]
    assert wrong(asked) == {"reordered": 1}


def test_a_commit_that_was_sent_again_may_come_after_what_was_called_for_until_then() -> None:
    for resent_by in (2, 3, math.inf):
        asked = [commit("one", 2, sha="sha-1"), commit("two", 1, sha="sha-2")]
        asked[1].attempts[0].resent_by = resent_by
        assert wrong(asked) == {}


def test_a_commit_that_was_sent_again_does_not_come_after_what_was_called_for_later() -> None:
    asked = [commit("one", 4, sha="sha-1"), commit("two", 1, sha="sha-2")]
    asked[1].attempts[0].resent_by = 3
    assert wrong(asked) == {"reordered": 1}


def test_commits_that_were_sent_again_keep_to_where_the_earlier_ones_are() -> None:
    history = [*HISTORY, ("sha-3", "three")]
    asked = [commit("one", 2, sha="sha-1"), commit("two", 1, sha="sha-2"), commit("three", 3, sha="sha-3")]
    asked[1].attempts[0].resent_by = 5
    assert wrong(asked, history) == {}
    asked[0].attempts[0].place = 4
    assert wrong(asked, history) == {"reordered": 1}


def test_a_read_that_missed_an_earlier_commit_is_stale() -> None:
    assert wrong([*both(), read(3, "sha-1")]) == {"stale_reads": 1}


def test_a_read_may_miss_a_commit_that_was_sent_again_after_it_and_none_that_was_before() -> None:
    asked = [*both(), read(4, "sha-1")]
    for resent_by, found in ((4, {}), (math.inf, {}), (3, {"stale_reads": 1})):
        asked[1].attempts[0].resent_by = resent_by
        assert wrong(asked) == found


def test_a_commit_that_is_there_although_its_job_says_otherwise_is_told_wrong() -> None:
    for outcome in ("cancelled", "not enqueued"):
        asked = [commit("one", 1, sha="sha-1"), commit("two", 2, outcome, cancel_asked=True)]
        assert wrong(asked) == {"told_wrong": 1}
    assert wrong([commit("one", 1, sha="sha-1"), commit("two", 2, "may be enqueued")]) == {}


def test_a_job_that_failed_without_a_reason_is_counted() -> None:
    assert wrong([*both(), commit("three", 3, "failed")]) == {"failed": 1}
    assert wrong([*both(), commit("three", 3, "cancelled")]) == {"failed": 1}
