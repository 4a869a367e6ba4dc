"""A delete of many entries takes several turns, between which other agents have theirs; each begins where one ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import RepoNotFoundError
from memrepo_worker.group import Agent, Group, Lease, Outcome, Success, TurnGoesOnError
from memrepo_worker.observe import Counters
from memrepo_worker.scheduling.attempts import RetryRules
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ALWAYS, ListedObject, Store, Version, When
from tests.support.writers import AGENT, Writer, commit, delete, files, writer

ENTRIES = 105


class Killed(BaseException):
    """The worker is gone: nothing of it runs on."""


class KillingStore(StoreDecorator):
    """Ends the worker at its tenth marker."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._markers = count(1)

    def put(self, key: str, data: bytes, when: When) -> Version:
        if when is ALWAYS and not data and next(self._markers) > 10:
            raise Killed
        return super().put(key, data, when)


class Listings(StoreDecorator):
    """Counts how often the whole journal is listed."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.whole = 0

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self.whole += prefix == f"{AGENT}/repo.git/"
        return super().list(prefix, start_after)


@pytest.fixture(scope="module")
def long_memory(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    folder = tmp_path_factory.mktemp("long")
    store = LocalStore(folder / "store")
    with writer(store, folder / "cache") as one:
        for number in range(ENTRIES):
            one.ask(commit(f"step {number}", create_repo_if_missing=True))
    return store


@pytest.fixture
def store(long_memory: LocalStore, tmp_path: Path) -> LocalStore:
    copy = LocalStore(tmp_path / "store")
    for item in long_memory.list(""):
        copy.put(item.key, long_memory.get(item.key).data, ALWAYS)
    return copy


def with_content(store: LocalStore) -> int:
    return sum(item.size > 0 for item in store.list(f"{AGENT}/repo.git/journal/"))


def in_turns_of(one: Writer, markers: int) -> None:
    one.service = replace(one.service, dependencies=replace(one.service.dependencies, markers_a_turn=markers))


def test_each_turn_frees_as_many_as_it_may_and_the_last_acknowledges(
    store: LocalStore, tmp_path: Path
) -> None:
    gone = delete("delete-it-all")
    with writer(store, tmp_path / "one") as one:
        in_turns_of(one, 10)
        for turn in range(1, 11):
            with pytest.raises(TurnGoesOnError, match=f"{ENTRIES - 10 * turn} entries are left to be freed"):
                one.group(gone)
            assert with_content(store) == ENTRIES - 10 * turn + 1

        one.group(gone)

        assert with_content(store) == 1
        with pytest.raises(RepoNotFoundError):
            one.ask(files())


def test_between_its_first_turn_and_its_last_it_lists_no_journal_and_rests_after_each(
    store: LocalStore, tmp_path: Path
) -> None:
    gone, listings = delete("delete-it-all"), Listings(store)
    with writer(listings, tmp_path / "one") as one:
        in_turns_of(one, 10)
        rests = []
        for _ in range(10):
            with pytest.raises(TurnGoesOnError) as more:
                one.group(gone)
            rests.append(more.value.rest_s)
        before = listings.whole
        one.group(gone)

    assert before == 1
    assert listings.whole == 2, "at the end all is listed, to see that nothing is left"
    assert all(rest > 0 for rest in rests)


def test_one_that_meets_an_unfinished_delete_opens_the_memory_once(store: LocalStore, tmp_path: Path) -> None:
    gone = delete("delete-it-all")
    with writer(store, tmp_path / "one") as one:
        in_turns_of(one, 10)
        with pytest.raises(TurnGoesOnError):
            one.group(gone)

    with writer(store, tmp_path / "two") as two:
        in_turns_of(two, 10)
        for _ in range(9):
            with pytest.raises(TurnGoesOnError):
                two.group(gone)
        two.group(gone)
        assert two.counters.snapshot()["repo.opened_cold"] == 1


def test_killed_at_every_tenth_marker_it_resumes_and_is_told_once(store: LocalStore, tmp_path: Path) -> None:
    gone = delete("delete-it-all")
    kills = 0
    while True:
        with writer(KillingStore(store), tmp_path / f"worker-{kills}") as one:
            before = with_content(store)
            try:
                one.group(gone)
                break
            except Killed:
                kills += 1
                assert with_content(store) <= before

    assert kills >= ENTRIES // 10
    assert with_content(store) == 1
    with writer(store, tmp_path / "after") as one:
        one.group(gone)  # known by its id
        assert one.ask(commit("anew", create_repo_if_missing=True)).created


class InParts:
    """A handler that comes to its end at the third call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, group: Group) -> Sequence[Outcome]:
        self.calls += 1
        if self.calls < 3:
            raise TurnGoesOnError(f"{3 - self.calls} are left", rest_s=float(2 - self.calls))
        return [Success(None)] * len(group.requests)


def test_between_its_turns_it_holds_no_thread_and_says_how_far_it_is() -> None:
    counters = Counters()
    rules = RetryRules(lambda _: Lease("x", 1.0), Random(1), counters)
    attempt = rules.begin(Agent("acme", "a"), (delete(),))
    handler = InParts()

    pauses = [attempt.advance(handler) for _ in range(3)]

    assert [pause.waiting.reason if pause and pause.waiting else None for pause in pauses] == [
        "2 are left",
        "1 are left",
        None,
    ]
    assert [pause and pause.seconds for pause in pauses] == [1.0, 0.05, None], (
        "as long as it asks for, at least"
    )
    assert attempt.outcomes == [Success(None)]
    assert counters.snapshot().get("mailbox.store.unavailable", 0) == 0
