"""A turn takes no more time and holds no more results than it may; what is left goes on in a later turn, in order."""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrepo.errors import RepoNotFoundError, TooLargeError
from memrepo.models import Snapshot
from memrepo.wire.operations import build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.merges import PreviewMergeRequest
from memrepo.wire.requests.reads import DiffRequest, ListFilesRequest
from memrepo_worker.git.command import Git
from memrepo_worker.group import Group, Lease, Outcome, Success
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from memrepo_worker.testing.outage import StoreWithOutages
from tests.support.hooked_store import HookedStore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, writer

KIB = 1024
TEXT = "x" * KIB
LEASE = Lease("lease-1", math.inf)


class TickingClock:
    """Each look at it finds it ``step_s`` later."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Turns:
    """A group of requests that is handed over turn by turn, as the mailbox does it."""

    def __init__(self, worker: Writer, *requests: Request) -> None:
        self.worker = worker
        self.group = Group(AGENT, requests, LEASE)

    def take(self) -> list[Any]:
        outcomes: Sequence[Outcome] = self.worker.service(self.group)
        self.group = replace(self.group, requests=self.group.requests[len(outcomes) :])
        return [outcome.value if isinstance(outcome, Success) else outcome for outcome in outcomes]

    @property
    def left(self) -> int:
        return len(self.group.requests)


def entries(store: LocalStore) -> int:
    return len(list(store.list(Layout.of(AGENT.org_id, AGENT.agent_id).journal)))


def test_results_of_a_turn_are_bounded_in_bytes(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one", turn_results_bytes_max=5 * KIB) as one:
        one.ask(create(a=TEXT, b=TEXT))
        turns = Turns(one, *(files() for _ in range(7)))

        taken = [len(turns.take()) for _ in range(3)]

        assert (taken, turns.left) == ([2, 2, 2], 1)
        assert one.counters.snapshot()["bounds.turn_results_bytes"] == 3


def test_the_files_that_a_preview_of_a_merge_tells_are_among_the_results(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", turn_results_bytes_max=5 * KIB) as one:
        one.ask(create(a=TEXT))
        one.ask(commit("theirs", {"a": f"{TEXT}theirs"}, branch="side"))
        one.ask(commit("ours", {"a": f"{TEXT}ours"}))
        head = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id, "enqueued_at": NOW_S}
        preview = build(PreviewMergeRequest, **head, request_id="preview-1", source="side")
        turns = Turns(one, *[preview] * 3)

        assert [len(turns.take()) for _ in range(2)] == [2, 1]


def test_one_result_is_told_however_large(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one", turn_results_bytes_max=1) as one:
        one.ask(create(a=TEXT))

        assert [one.group(files(), files())[place]["a"].text for place in (0, 1)] == [TEXT, TEXT]


def test_a_read_that_is_answered_in_a_later_turn_finds_what_was_there_at_its_place(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", turn_results_bytes_max=1) as one:
        one.ask(create(a="0"))
        turns = Turns(
            one, files(), commit("1", {"a": "1"}), files(), commit("2", {"a": "2"}), files(), files()
        )
        found = []
        while turns.left:
            found += turns.take()

        assert [read["a"].text for read in found if isinstance(read, Snapshot)] == ["0", "1", "2", "2"]
        assert entries(store) == 2, "the group shares one entry, however many turns tell of it"


def test_a_read_that_is_left_over_finds_nothing_of_what_was_deleted_meanwhile(
    store: LocalStore, tmp_path: Path
) -> None:
    with (
        writer(store, tmp_path / "one", turn_results_bytes_max=1) as one,
        writer(store, tmp_path / "two") as two,
    ):
        one.ask(create(a="0"))
        turns = Turns(one, files(), files())
        turns.take()
        two.ask(delete())
        one.new_lease()
        turns.group = replace(turns.group, lease=Lease(one.lease_token, math.inf))

        assert [type(found) for found in turns.take()] == [RepoNotFoundError]


def test_a_turn_whose_time_is_over_publishes_and_tells_what_it_has(store: LocalStore, tmp_path: Path) -> None:
    clock = TickingClock()
    with writer(store, tmp_path / "one", monotonic=clock, turn_time_s=2.0) as one:
        one.ask(create(a="0"))
        clock.step_s = 0.9
        turns = Turns(one, *(commit(f"{number}") for number in range(9)))
        taken = []
        while turns.left:
            taken.append(len(turns.take()))

        assert len(taken) > 1
        assert sum(taken) == 9
        assert one.counters.snapshot()["bounds.turn_time"] == len(taken) - 1
        assert one.messages() == ["Initial commit", *map(str, range(9))]
    assert entries(store) <= 1 + len(taken), "what was drafted in a turn shares an entry"


def test_opening_a_memory_takes_nothing_of_a_turns_time(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = TickingClock()
    with writer(store, tmp_path / "zero") as zero:
        zero.ask(create(a="0"))
    index_pack = Git.index_pack

    def slowly(git: Git, repo: Path, pack: bytes) -> str:
        clock.now_s += 1000.0
        return index_pack(git, repo, pack)

    with writer(store, tmp_path / "one", monotonic=clock, turn_time_s=2.0) as one:
        monkeypatch.setattr(Git, "index_pack", slowly)
        one.service.trouble.met(OSError(errno.ENOSPC, "full"))  # so each turn opens a copy that is not kept
        turns = Turns(one, *(commit(f"{number}") for number in range(9)))

        assert len(turns.take()) == 9
        counted = one.counters.snapshot()
        assert (counted["repo.opened_cold"], counted["cache.passed_by"]) == (1, 1)
        assert clock.now_s >= 1000.0
    assert entries(store) == 2


def test_each_turn_answers_at_least_one_request(store: LocalStore, tmp_path: Path) -> None:
    clock = TickingClock()
    with writer(store, tmp_path / "one", monotonic=clock, turn_time_s=0.01) as one:
        one.ask(create(a="0"))
        clock.step_s = 1000.0
        turns = Turns(one, *(files() for _ in range(3)))

        assert [len(turns.take()) for _ in range(3)] == [1, 1, 1]


def test_nothing_is_told_before_the_entry_is_in_the_store(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "zero") as zero:
        zero.ask(create(a="0"))
    reached = StoreWithOutages(store)
    hooked = HookedStore(reached)
    with writer(hooked, tmp_path / "one", turn_results_bytes_max=1) as one:
        turns = Turns(one, files(), commit("1", {"a": "1"}), files())

        def go_away() -> None:
            reached.away = True

        hooked.before_put = go_away
        with pytest.raises(UnavailableError):
            turns.take()
        assert turns.left == 3
        reached.away = False
        found = []
        while turns.left:
            found += turns.take()

    assert [read["a"].text for read in found if isinstance(read, Snapshot)] == ["0", "1"]
    assert entries(store) == 2


def test_one_read_that_takes_too_long_ends_with_an_error_that_names_the_bound(
    store: LocalStore, tmp_path: Path
) -> None:
    clock = TickingClock()
    with writer(store, tmp_path / "cache", monotonic=clock, turn_time_s=1.0) as worker:
        worker.ask(create())
        worker.ask(commit("many", {f"{number:03}.md": TEXT for number in range(100)}))
        clock.step_s = 0.15

        with pytest.raises(TooLargeError, match=r"10 s .*MEMREPO_TURN_TIME_S") as refused:
            worker.ask(_reading(DiffRequest, base="HEAD~1", target="HEAD"))

        assert refused.value.details["bound"] == "turn_time_s"
        assert worker.counters.snapshot()["bounds.turn_time"] == 1
        assert worker.ask(_reading(ListFilesRequest, limit=1))


def _reading(kind: type[Request], **body: Any) -> Request:
    head = {"org_id": "acme", "agent_id": "agent-1", "request_id": "reading-1", "enqueued_at": NOW_S}
    return build(kind, **head, **body)
