"""What a write is answered with is composed while its entry is put, and told only where the entry has that number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memrepo.errors import HeadMovedError
from memrepo.wire.operations import operation_of
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Group, Lease, Outcome, Success
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service import prepared
from memrepo_worker.store.interface import UnavailableError
from tests.support.watched_store import WatchedStore
from tests.support.writers import Writer, commit, create, delete, history, writer

LINES = [f"{number}\n" for number in range(40_000)]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> WatchedStore:
    store = WatchedStore()
    compose = prepared.Prepared._compose

    def composing(*args: object) -> None:
        store.seen.append("composed")
        compose(*args)  # type: ignore[arg-type] # handed on

    monkeypatch.setattr(prepared.Prepared, "_compose", composing)
    return store


@pytest.fixture
def one(store: WatchedStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(a="1\n"))
        store.seen.clear()
        yield one


@pytest.fixture
def rival(store: WatchedStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "rival") as rival:
        yield rival


def test_answers_are_composed_before_their_put_has_ended(one: Writer, store: WatchedStore) -> None:
    made, _ = one.group(commit("edited", {"a": "2\n3\n"}), commit("more"))

    assert store.seen == ["composed", "composed", "put"]
    assert (made.files_changed, made.additions, made.deletions) == (["a"], 2, 1)


def test_they_are_written_as_json_before_their_put_has_ended(
    one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = operation_of

    def finding(request: Request) -> object:
        store.seen.append("written")
        return find(request)

    monkeypatch.setattr(prepared, "operation_of", finding)

    one.ask(commit("edited", {"a": "2\n3\n"}))

    assert store.seen == ["composed", "written", "put"]


def test_they_say_what_the_ledger_and_the_published_commits_say_afterwards(one: Writer) -> None:
    wanted = (
        commit("new", {"b": "x\n"}),
        commit("edited", {"a": "2\n", "b": None}),
        commit("same", {"a": "2\n"}),
        commit("branch", {"a": "3\n"}, branch="other"),
    )

    meanwhile = one.group(*wanted)

    assert meanwhile == one.group(*wanted)
    assert [made.created for made in meanwhile] == [True, True, False, True]


def test_a_lost_race_throws_an_answer_away(one: Writer, rival: Writer, store: WatchedStore) -> None:
    store.meanwhile = [lambda: rival.ask(commit("theirs", {"a": "7\n8\n"}))]

    ours = one.ask(commit("ours", {"a": "2\n"}))

    newest, theirs = one.ask(history())[:2]
    assert (ours.sha, ours.parent_sha, ours.deletions) == (newest.sha, theirs.sha, 2)
    assert theirs.message == "theirs"


def test_a_lost_race_makes_a_refusal_of_a_success(one: Writer, rival: Writer, store: WatchedStore) -> None:
    head = one.ask(history())[0].sha
    store.meanwhile = [lambda: rival.ask(commit("theirs", {"a": "7\n"}))]

    with pytest.raises(HeadMovedError):
        one.ask(commit("ours", {"a": "2\n"}, expected_head=head))

    assert "composed" in store.seen


def test_nothing_is_told_before_the_create_has_succeeded(one: Writer, store: WatchedStore) -> None:
    def fail() -> None:
        raise UnavailableError("no answer")

    store.meanwhile = [fail] * 4  # as often as an append tries
    request = commit("ours", {"a": "2\n"})

    with pytest.raises(UnavailableError):
        one.ask(request)

    assert store.seen == ["composed"]
    assert one.ask(request).sha == one.ask(history())[0].sha


class TestAllRequestsOfAGroup:
    """They are answered as soon as the create has succeeded, and all that only later turns need is done after it."""

    def test_they_are_answered_before_the_repository_takes_the_entry_in(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install = WarmRepo.install

        def installing(*args: Any, **named: Any) -> None:
            store.seen.append("installed")
            install(*args, **named)

        monkeypatch.setattr(WarmRepo, "install", installing)

        told, answers = told_ahead(one, store, commit("edited", {"a": "2\n"}), commit("more", {"b": "1\n"}))

        assert store.seen == ["composed", "composed", "prepared", "put", "told", "installed"]
        assert told == answers
        assert [answer.created for answer in answers] == [True, True]

    def test_none_is_told_ahead_where_a_rival_took_the_number(
        self, one: Writer, rival: Writer, store: WatchedStore
    ) -> None:
        store.meanwhile = [lambda: rival.ask(commit("theirs", {"a": "7\n"}))]

        told, (ours,) = told_ahead(one, store, commit("ours", {"a": "2\n"}))

        assert [value.sha for value in told] == [ours.sha]
        assert store.seen.count("prepared") == 2
        assert store.seen[-2:] == ["put", "told"]

    def test_none_is_told_where_the_create_has_not_succeeded(self, one: Writer, store: WatchedStore) -> None:
        def fail() -> None:
            raise UnavailableError("no answer")

        store.meanwhile = [fail] * 4

        with pytest.raises(UnavailableError):
            told_ahead(one, store, commit("ours", {"a": "2\n"}))

        assert "told" not in store.seen

    def test_a_failure_among_them_leaves_all_to_the_end(self, one: Writer, store: WatchedStore) -> None:
        told, (made, refused) = told_ahead(
            one, store, commit("ours", {"a": "2\n"}), commit("not", {"a": "3\n"}, expected_head="0" * 40)
        )

        assert (told, made.created, type(refused)) == ([], True, HeadMovedError)

    def test_a_read_among_them_leaves_all_to_the_end(self, one: Writer, store: WatchedStore) -> None:
        told, (made, found) = told_ahead(one, store, commit("ours", {"a": "2\n"}), history())

        assert (told, found[0].sha) == ([], made.sha)

    def test_a_delete_is_answered_when_its_bytes_are_gone(self, one: Writer, store: WatchedStore) -> None:
        told, answers = told_ahead(one, store, delete())

        assert (told, answers) == ([], [None])

    def test_what_was_written_long_before_is_left_to_the_end(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(prepared, "TELL_S_MAX", -1.0)

        told, answers = told_ahead(one, store, commit("ours", {"a": "2\n"}))

        assert (told, len(answers)) == ([], 1)

    def test_a_fault_after_they_were_told_has_them_found_in_the_ledger(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = commit("ours", {"a": "2\n"})
        with monkeypatch.context() as patches:
            patches.setattr(WarmRepo, "install", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                told_ahead(one, store, wanted)

        again = one.ask(wanted)

        assert store.seen.count("told") == 1
        assert [again.sha] == [item.sha for item in one.ask(history())[:1]]

    def test_what_could_not_be_told_is_seen_by_the_next_read(self, one: Writer) -> None:
        def prepare(_: Sequence[Outcome]) -> Callable[[], None]:
            return lambda: 1 // 0  # type: ignore[return-value] # it returns nothing

        lease = Lease(one.lease_token, math.inf)
        with pytest.raises(ZeroDivisionError):
            one.service(Group(one.agent, (commit("ours", {"a": "2\n"}),), lease, prepare_answers=prepare))

        assert one.ask(history())[0].message == "ours"


def told_ahead(one: Writer, store: WatchedStore, *requests: Request) -> tuple[list[Any], list[Any]]:
    """Hand a group over; return what was told before the handler returned, and what it returned."""
    told: list[Any] = []

    def prepare(outcomes: Sequence[Outcome]) -> Callable[[], None]:
        store.seen.append("prepared")

        def tell() -> None:
            store.seen.append("told")
            told.extend(_value(outcome) for outcome in outcomes)

        return tell

    group = Group(one.agent, requests, Lease(one.lease_token, math.inf), prepare_answers=prepare)
    return told, [_value(outcome) for outcome in one.service(group)]


def _value(outcome: Outcome) -> Any:
    return outcome.value if isinstance(outcome, Success) else outcome


def test_what_was_counted_of_a_commit_that_lost_is_not_kept(
    one: Writer, rival: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.meanwhile = [lambda: rival.ask(commit("theirs", {"a": "7\n"}))]
    kept: list[str] = []
    monkeypatch.setattr(one.warm().line_counts, "keep", lambda sha, _: kept.append(sha))

    ours = one.ask(commit("ours", {"a": "2\n"}))

    assert kept == [ours.sha]


def test_large_contents_are_compared_by_a_process_when_they_are_published(
    one: Writer, store: WatchedStore
) -> None:
    before, after = ("".join(Random(seed).sample(LINES, len(LINES))) for seed in (1, 2))
    one.ask(commit("large", {"large": before}))
    processes: list[int] = []
    store.meanwhile = [lambda: processes.append(_processes(one))]

    made = one.ask(commit("edited", {"large": after}))

    assert (processes, _processes(one)) == ([1], 2)  # the first asked for git's version
    assert made.additions == made.deletions > 0


def test_what_goes_wrong_while_an_answer_is_composed_changes_nothing(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(prepared, "result_of", fail)

    made = one.ask(commit("edited", {"a": "2\n"}))

    assert (made.sha, made.additions) == (one.ask(history())[0].sha, 1)


def test_composing_ends_where_it_takes_longer_than_a_put(
    one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "WORK_S_MAX", -1.0)

    made = one.group(*(commit(f"{number}") for number in range(5)))

    assert store.seen == ["composed", "put"]
    assert len({commit_.sha for commit_ in made}) == 5


def _processes(one: Writer) -> int:
    return one.counters.snapshot().get("process.started", 0)
