"""What waits behind a group is drafted while its entry is put, and used only where the memory became just that."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memrepo import FileChange, append
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.draft import Ahead, Draft
from memrepo_worker.service.drafts import ahead as making
from memrepo_worker.service.drafts.ahead import draft_ahead
from memrepo_worker.service.writes.table import settle
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.faulty_store import FAULTS_OF, Fault, FaultyStore, Operation
from tests.support.watched_store import WatchedStore
from tests.support.writers import Writer, commit, create, delete, files, find, history, writer, writers

TRIES = 4
"""How often an append asks about one create."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> WatchedStore:
    store = WatchedStore()

    def settling(request: Request, draft: Draft, agent: Agent) -> LedgerLine:
        store.seen.append(getattr(request, "message", type(request).__name__))
        return settle(request, draft, agent)

    monkeypatch.setattr("memrepo_worker.service.drafts.drafting.settle", settling)
    return store


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Ahead | None]:
    """Give what was drafted ahead, as it comes."""
    made: list[Ahead | None] = []

    def making_one(*args: Any) -> Ahead | None:
        made.append(draft_ahead(*args))
        return made[-1]

    monkeypatch.setattr("memrepo_worker.service.turn.draft_ahead", making_one)
    return made


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


def test_what_follows_is_drafted_before_the_put_has_ended_and_not_again(
    one: Writer, store: WatchedStore
) -> None:
    following = [commit("second"), commit("third")]

    (first,) = serve(one, [commit("first")], following)
    second, third = serve(one, following)

    assert store.seen == ["first", "second", "third", "put", "put"]
    assert (second.parent_sha, third.parent_sha) == (first.sha, second.sha)
    assert one.messages()[1:] == ["first", "second", "third"]
    assert {*one.texts()} == {"a", "first", "second", "third"}


def test_its_commits_are_those_of_a_draft_made_in_its_turn(one: Writer, tmp_path: Path) -> None:
    groups = [
        [commit("first", {"a": "2\n"}), commit("branch", {"b": "x\n"}, branch="other")],
        [commit("second", {"a": "3\n"}), commit("on the branch", {"b": None}, branch="other")],
        [commit("same", {"a": "3\n"}), commit("third", {"c": "1\n"})],
    ]
    beginning = create(a="1\n")

    def shas(drafts_ahead: bool) -> list[str]:
        with writer(WatchedStore(), tmp_path / f"{drafts_ahead}") as another:
            another.ask(beginning)
            made: list[str] = []
            for number, group in enumerate(groups):
                following = groups[number + 1] if drafts_ahead and number + 1 < len(groups) else ()
                made += [result.sha for result in serve(another, group, following)]
            assert another.counters.snapshot().get("drafts.ahead", 0) == (2 if drafts_ahead else 0)
            return made

    assert shas(drafts_ahead=True) == shas(drafts_ahead=False)


def test_what_came_after_it_is_drafted_with_it_in_its_turn(
    one: Writer, rival: Writer, store: WatchedStore
) -> None:
    following = [commit("second")]

    serve(one, [commit("first")], following)
    second, third = serve(one, [*following, commit("third")])

    assert store.seen == ["first", "second", "put", "third", "put"]
    assert third.parent_sha == second.sha
    assert rival.messages()[1:] == ["first", "second", "third"]  # from the store, where all of it is


def test_it_ends_when_the_answer_is_there_and_the_turn_goes_on_with_it(
    one: Writer, rival: Writer, store: WatchedStore
) -> None:
    following = [commit("second"), commit("third"), commit("fourth")]
    store.looks = 2  # before it begins, and before the first

    serve(one, [commit("first")], following)
    serve(one, following)

    assert store.seen == ["first", "second", "put", "third", "fourth", "put"]
    assert rival.messages()[1:] == ["first", "second", "third", "fourth"]


def test_each_group_in_a_row_has_the_next_one_drafted(one: Writer, rival: Writer) -> None:
    groups = [
        [commit(f"{group}-{number}", {"a": f"{group} {number}\n"}) for number in range(3)]
        for group in range(6)
    ]

    for group, following in zip(groups, [*groups[1:], []], strict=True):
        serve(one, group, following)

    assert one.counters.snapshot()["drafts.ahead"] == 5
    assert rival.messages()[1:] == [request.message for group in groups for request in group]
    assert rival.texts() == one.texts()


class TestTheEntryBeforeIt:
    """Where that is not published as it was, what stood on it is thrown away."""

    def test_a_lost_race_has_it_drafted_anew_on_what_won(
        self, one: Writer, rival: Writer, store: WatchedStore, made: list[Ahead | None]
    ) -> None:
        store.meanwhile = [lambda: rival.ask(commit("theirs", {"a": "7\n"}))]
        following = [commit("second")]

        (first,) = serve(one, [commit("first")], following)
        (second,) = serve(one, following)

        assert one.messages()[1:] == ["theirs", "first", "second"]
        assert second.parent_sha == first.sha
        assert_unknown(one, made[0])

    def test_a_create_of_which_nothing_is_known_leaves_nothing_of_it(
        self, one: Writer, store: WatchedStore, made: list[Ahead | None]
    ) -> None:
        store.meanwhile = [fail] * TRIES
        first, following = commit("first"), [commit("second")]

        with pytest.raises(UnavailableError):
            serve(one, [first], following)

        assert_unknown(one, made[0])
        assert one.messages()[1:] == []
        serve(one, [first])
        serve(one, following)
        assert one.messages()[1:] == ["first", "second"]

    def test_a_group_that_comes_without_that_entry_gets_nothing_of_it(
        self, one: Writer, store: WatchedStore, made: list[Ahead | None]
    ) -> None:
        store.meanwhile = [fail] * TRIES
        following = [commit("second")]
        with pytest.raises(UnavailableError):
            serve(one, [commit("first")], following)

        (second,) = serve(one, following)

        assert one.messages()[1:] == ["second"]
        assert second.parent_sha == one.ask(history())[1].sha

    def test_a_fault_after_it_was_published_has_both_found_in_the_ledger_or_drafted(
        self, one: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, following = commit("first"), [commit("second")]
        with monkeypatch.context() as patches:
            patches.setattr("memrepo_worker.repos.warm.WarmRepo.install", lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                serve(one, [first], following)

        serve(one, [first], following)
        serve(one, following)

        assert one.messages()[1:] == ["first", "second"]


class TestItsOwnTurn:
    """It is used for just those requests, on just that state."""

    def test_a_request_that_was_sent_twice_is_applied_once(self, one: Writer) -> None:
        twice, following = commit("twice", {"a": "2\n"}), commit("after")

        first, second = serve(one, [twice, commit("second", {"a": "3\n"})], [twice, following])
        again, after = serve(one, [twice, following])

        assert again.sha == first.sha
        assert after.parent_sha == second.sha
        assert one.messages()[1:] == ["twice", "second", "after"]

    def test_the_same_id_with_another_request_is_refused_as_ever(self, one: Writer) -> None:
        other = commit("other", request_id="r-1")

        serve(one, [commit("one", request_id="r-1")], [other])
        (refused,) = serve(one, [other])

        assert "another request" in str(refused)
        assert one.messages()[1:] == ["one"]

    def test_one_that_was_cancelled_meanwhile_is_not_published(
        self, one: Writer, made: list[Ahead | None]
    ) -> None:
        cancelled, kept = commit("cancelled"), commit("kept")

        (first,) = serve(one, [commit("first")], [cancelled, kept])
        (result,) = serve(one, [kept])

        assert result.parent_sha == first.sha
        assert one.messages()[1:] == ["first", "kept"]
        assert_unknown(one, made[0])

    def test_what_another_owner_has_written_meanwhile_is_what_it_stands_on(
        self, one: Writer, rival: Writer, made: list[Ahead | None]
    ) -> None:
        following = [commit("second", {"a": "2\n"})]
        serve(one, [commit("first")], following)
        one.new_lease()
        theirs = rival.ask(commit("theirs", {"a": "7\n8\n"}))

        (second,) = serve(one, following)

        assert (second.parent_sha, second.deletions) == (theirs.sha, 2)
        assert one.messages()[1:] == ["first", "theirs", "second"]

    def test_a_memory_that_was_dropped_meanwhile_has_it_drafted_anew(
        self, one: Writer, store: WatchedStore
    ) -> None:
        following = [commit("second")]
        serve(one, [commit("first")], following)
        one.service.cache.drop(one.agent)

        serve(one, following)

        assert store.seen == ["first", "second", "put", "second", "put"]
        assert one.messages()[1:] == ["first", "second"]

    def test_it_is_used_once(self, one: Writer) -> None:
        following = [commit("second")]
        serve(one, [commit("first")], following)

        serve(one, [commit("between")])

        assert one.warm().ahead is None
        serve(one, following)
        assert one.messages()[1:] == ["first", "between", "second"]


def edit() -> Request:
    return commit("edit").model_copy(update={"changes": (append("a", "x\n"),)})


class TestWhatIsDrafted:
    """Plain commits of some bytes in all, which need neither the store nor long."""

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(delete, id="a delete"),
            pytest.param(files, id="a read"),
            pytest.param(lambda: find("request"), id="a question about a request"),
            pytest.param(edit, id="an edit"),
            pytest.param(lambda: commit("at", expected_head="0" * 40), id="a commit at a head"),
            pytest.param(
                lambda: commit("at").model_copy(
                    update={"changes": [FileChange(path="a", content="2\n", expected_sha256="0" * 64)]}
                ),
                id="a commit that reads a file",
            ),
            pytest.param(
                lambda: commit("at", start_point="main~0", branch="b"), id="a commit that looks back"
            ),
        ],
    )
    def test_it_ends_before_any_other(
        self, one: Writer, store: WatchedStore, other: Callable[[], Request]
    ) -> None:
        serve(one, [commit("first")], [commit("second"), other(), commit("third")])

        assert store.seen == ["first", "second", "put"]

    def test_it_ends_before_what_is_large(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(making, "AHEAD_BYTES_MAX", 100)

        serve(one, [commit("first")], [commit("second"), commit("large", {"a": "x" * 100})])

        assert store.seen == ["first", "second", "put"]

    def test_it_ends_before_its_objects_are_many(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(making, "OBJECTS_BYTES_MAX", 100)

        serve(one, [commit("first")], [commit("second"), commit("third")])

        assert store.seen == ["first", "second", "put"]

    def test_behind_what_is_large_nothing_is(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(making, "BEFORE_BYTES_MAX", 100)

        serve(one, [commit("first", {"a": "x" * 100})], [commit("second")])

        assert store.seen == ["first", "put"]

    def test_what_is_old_is_drafted_anew(
        self, one: Writer, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("memrepo_worker.service.turn.AHEAD_AGE_S_MAX", -1.0)
        following = [commit("second")]

        serve(one, [commit("first")], following)
        serve(one, following)

        assert store.seen == ["first", "second", "put", "second", "put"]

    def test_behind_a_delete_nothing_is(self, one: Writer, store: WatchedStore) -> None:
        serve(one, [delete()], [commit("after", create_repo_if_missing=True)])

        assert "after" not in store.seen

    def test_what_goes_wrong_with_it_changes_nothing(
        self, one: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        following = [commit("second")]
        with monkeypatch.context() as patches:
            patches.setattr(making, "ChainMap", lambda *_: 1 / 0)
            serve(one, [commit("first")], following)

        serve(one, following)

        assert one.messages()[1:] == ["first", "second"]

    def test_it_weighs_with_what_is_kept_in_memory(self, one: Writer) -> None:
        before = one.warm().memory_bytes

        serve(one, [commit("first")], [commit("second", {"b": "x" * 100_000})])

        assert one.warm().memory_bytes > before + 100_000


def serve(one: Writer, requests: Sequence[Request], following: Sequence[Request] = ()) -> list[Any]:
    """Hand a group over behind which others wait; return each outcome's value or error."""
    group = Group(one.agent, tuple(requests), Lease(one.lease_token, math.inf), following=lambda: following)
    outcomes = one.service(group)
    return [outcome.value if isinstance(outcome, Success) else outcome for outcome in outcomes]


def fail() -> None:
    raise UnavailableError("no answer")


def assert_unknown(one: Writer, ahead: Ahead | None) -> None:
    """Check that a draft was made, and that its commits and trees are in no warm repository."""
    assert ahead is not None
    assert ahead.draft.objects
    published = {published.sha for published in one.ask(history())}
    for sha, item in ahead.draft.objects.items():
        if item.kind.word == "commit":
            assert sha not in published
            assert one.warm().reader.maybe(sha) is None


@pytest.mark.parametrize("seed", range(20))
def test_rivals_faults_cancels_and_what_is_sent_again_lose_and_double_nothing(
    seed: int, tmp_path: Path
) -> None:
    random = Random(seed)

    def plan(operation: Operation, _key: str) -> Fault | None:
        is_met = operation is Operation.PUT and random.random() < 0.3
        return random.choice(FAULTS_OF[operation]) if is_met else None

    store = FaultyStore(MemoryStore(), plan)
    shas: dict[str, str] = {}
    cancelled: set[str] = set()
    with writers(store, tmp_path, 2) as both:
        until_answered(both[0], [create()])
        queues = {
            number: deque(commit(f"{number}-{count}", {f"{number}": f"{count}\n"}) for count in range(15))
            for number in range(2)
        }
        while waiting := [number for number, queue in queues.items() if queue]:
            number = random.choice(waiting)
            one, queue = both[number], queues[number]
            group = [queue.popleft() for _ in range(min(len(queue), random.randint(1, 3)))]
            if random.random() < 0.3:
                one.new_lease()
            if random.random() < 0.3:
                queue.appendleft(group[0])  # sent again
            outcomes = until_answered(one, group, [*queue][: random.randint(0, 3)])
            for request, outcome in zip(group, outcomes, strict=True):
                assert shas.setdefault(request.request_id, outcome.sha) == outcome.sha
            if queue and queue[0] not in group and random.random() < 0.2:
                cancelled.add(queue.popleft().message)
            if random.random() < 0.3:
                store.land_late_puts()
        store.land_late_puts()
        for one in both:
            one.new_lease()
        histories = [one.messages()[1:] for one in both]
    assert histories[0] == histories[1]
    for number in range(2):
        wanted = [f"{number}-{count}" for count in range(15) if f"{number}-{count}" not in cancelled]
        assert [message for message in histories[0] if message.startswith(f"{number}-")] == wanted


def until_answered(one: Writer, requests: Sequence[Request], following: Sequence[Request] = ()) -> list[Any]:
    """Try a group until it is answered, as its mailbox does: with the same create under way."""
    group = Group(one.agent, tuple(requests), Lease(one.lease_token, math.inf), following=lambda: following)
    for _ in range(100):
        with suppress(UnavailableError):
            return [outcome.value for outcome in one.service(group) if isinstance(outcome, Success)]
    raise AssertionError("not answered")
