"""``main~1`` moves: a write that names it means what it is at the write's own place, and keeps meaning that."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrepo.errors import RefNotFoundError
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.writers import commit, create, files, writer


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_each_request_of_a_group_sees_the_commits_before_it(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        first, early, second, late, read = one.group(
            create(),
            commit("early", branch="early", start_point="HEAD~0"),
            commit("second"),
            commit("late", branch="late", start_point="main~1"),
            files("main~1"),
        )
        third = one.ask(commit("third"))

    assert early.parent_sha == late.parent_sha == read.commit_sha == first.sha
    assert third.parent_sha == second.sha


def test_a_request_that_comes_again_keeps_the_commit_that_it_began_at(
    store: LocalStore, tmp_path: Path
) -> None:
    request = commit("aside", branch="aside", start_point="main~1", request_id="aside-request")
    with writer(store, tmp_path / "one") as one:
        one.group(create(), commit("second"))
        made = one.ask(request)
        one.ask(commit("third"))  # main~1 is another commit now
        again = one.ask(request)
    with writer(store, tmp_path / "two") as another:
        elsewhere = another.ask(request)

    assert made.sha == again.sha == elsewhere.sha
    assert made.new_branch
    assert again.new_branch
    assert elsewhere.new_branch


def test_a_write_that_lost_to_a_rival_is_resolved_anew_on_what_the_rival_left(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one, writer(store, tmp_path / "two") as rival:
        first = one.ask(create())
        hooked.before_put = lambda: rival.ask(commit("from the rival"))

        made = one.ask(commit("aside", branch="aside", start_point="main~1"))

    assert made.parent_sha == first.sha


def test_a_write_whose_answer_got_lost_is_settled_once(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one:
        first, second = one.group(create(), commit("second"))
        hooked.after_put = answer_lost

        made = one.ask(commit("aside", branch="aside", start_point=f"{second.sha[:7]}~1"))

    assert made.parent_sha == first.sha


def test_that_there_is_no_such_commit_is_settled_like_any_other_verdict(
    store: LocalStore, tmp_path: Path
) -> None:
    request = commit("aside", branch="aside", start_point="main~1", request_id="aside-request")
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        (refused,) = one.group(request)
        one.ask(commit("second"))  # main~1 would be there now
        (again,) = one.group(request)

    assert isinstance(refused, RefNotFoundError)
    assert (again.message, again.details) == (refused.message, {"ref": "main~1", "commits": 1})
