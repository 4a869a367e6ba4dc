"""Schedules of several writers on one journal: paused, repeated, overtaken, deleted under.

Each schedule is a function that asserts what must hold. One test runs it as it is. Another takes the rule out that
protects it, and shows that the schedule then notices: a schedule that could not fail would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError, RepoNotFoundError
from memrepo_worker.journal import seal as seal_module
from memrepo_worker.journal.append import Append
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.draft import Draft
from memrepo_worker.repos.ledger import Ledger
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service import opening as opening_module
from memrepo_worker.service import turn as turn_module
from memrepo_worker.service.opening import Opener
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.content import Content
from memrepo_worker.store.interface import ABSENT, ALWAYS, PreconditionFailedError, Store, UnavailableError
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.jobs import present
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, Writer, commit, create, delete, writer

Clean = Callable[[Opener, WarmRepo], WarmRepo]


@dataclass
class World:
    """Two writers over one folder, each seeing the store through hooks of its own."""

    folder: Path
    a: Writer
    b: Writer
    store_a: HookedStore
    store_b: HookedStore

    def restored_log(self) -> list[str]:
        """The messages that stock git finds in the store, oldest first; the repository must be sound."""
        self.count = getattr(self, "count", 0) + 1
        agent = self.folder / "store" / AGENT.org_id / AGENT.agent_id / "repo.git"
        repo = restore(agent, self.folder / f"restored-{self.count}.git")
        git(repo, "fsck", "--strict")
        return git(repo, "log", "--reverse", "--format=%s", "main").decode().split("\n")[:-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = LocalStore(tmp_path / "store")
    store_a, store_b = HookedStore(store), HookedStore(store)
    with writer(store_a, tmp_path / "a") as a, writer(store_b, tmp_path / "b") as b:
        a.ask(create(human="likes tea"))
        b.messages()
        yield World(tmp_path, a, b, store_a, store_b)


Schedule = Callable[[World], None]
Rule = Callable[[pytest.MonkeyPatch, World], None]
"""Takes a rule out."""

# The schedules


def paused_before_its_put_while_another_commits(world: World) -> None:
    world.store_a.before_put = lambda: world.b.ask(commit("from b"))

    world.a.ask(commit("from a"))

    world.b.new_lease()
    assert world.b.messages() == ["Initial commit", "from b", "from a"]
    assert world.restored_log() == ["Initial commit", "from b", "from a"]


def paused_before_its_put_while_another_deletes(world: World) -> None:
    for number in range(3):
        world.b.ask(commit(f"step {number}"))
    world.a.new_lease()
    world.a.messages()
    world.store_a.before_put = lambda: world.b.ask(delete())

    (outcome,) = world.a.group(commit("from a"))

    assert isinstance(outcome, RepoNotFoundError), outcome
    with pytest.raises(RepoNotFoundError):
        world.a.messages()
    assert not list((world.folder / "store").rglob("refs"))


def paused_before_its_put_while_another_deletes_and_re_creates(world: World) -> None:
    world.a.messages()
    old = world.a.ask(commit("old")).sha

    def delete_and_re_create() -> None:
        world.b.new_lease()
        world.b.ask(delete())
        world.b.ask(create(new="life"))

    world.store_a.before_put = delete_and_re_create

    world.a.ask(commit("from a"))

    assert world.a.texts() == {"new": "life", "from a": "from a"}
    assert world.restored_log() == ["Initial commit", "from a"]
    for each in (world.a, world.b):
        each.new_lease()
        assert each.warm().reader.maybe(old) is None, "a deleted object is still readable"


def paused_long_before_its_put_while_the_numbers_below_are_cleaned(world: World) -> None:
    """The paused writer's number is far below the seal when it wakes: it must still lose."""

    def much_happens() -> None:
        world.b.new_lease()
        for number in range(4):
            world.b.ask(commit(f"step {number}"))
        world.b.ask(delete())
        world.b.ask(create(new="life"))

    world.store_a.before_put = much_happens

    world.a.ask(commit("from a"))

    world.b.new_lease()
    assert world.b.texts() == {"new": "life", "from a": "from a"}
    assert world.restored_log() == ["Initial commit", "from a"]


def paused_between_put_and_answer_while_another_commits(world: World) -> None:
    def another_commits_then_the_answer_is_lost() -> None:
        world.b.ask(commit("from b"))
        answer_lost()

    world.store_a.after_put = another_commits_then_the_answer_is_lost

    result = world.a.ask(commit("from a"))

    world.a.new_lease()
    assert world.a.messages() == ["Initial commit", "from a", "from b"]
    assert world.restored_log() == ["Initial commit", "from a", "from b"]
    assert result.created


def the_same_request_at_two_writers(world: World) -> None:
    request = commit("once")
    world.store_a.before_put = lambda: world.b.ask(request)

    results = [world.a.ask(request), world.b.ask(request)]

    assert results[0] == results[1]
    assert world.restored_log() == ["Initial commit", "once"]


def a_no_op_then_a_change_then_the_no_op_again(world: World) -> None:
    no_op = commit("no-op", {"human": "likes tea"})
    first = world.a.ask(no_op)
    world.a.ask(commit("change", {"human": "likes coffee"}))
    world.b.new_lease()

    again = [world.a.ask(no_op), world.b.ask(no_op)]

    assert [first.created, *(result.created for result in again)] == [False] * 3
    assert {result.sha for result in again} == {first.sha}
    assert world.a.texts() == {"human": "likes coffee"}


def a_delete_a_re_create_then_the_delete_again(world: World) -> None:
    request = delete()
    world.a.ask(request)
    world.a.ask(create(new="life"))
    world.b.new_lease()

    world.a.ask(request)
    world.b.ask(request)

    assert world.a.texts() == world.b.texts() == {"new": "life"}


def a_failed_request_again_when_it_would_succeed(world: World) -> None:
    refused = commit("early", {"human/inside": "x"})
    (first,) = world.a.group(refused)
    world.a.ask(commit("make room", {"human": None}))
    world.b.new_lease()

    (again,) = world.b.group(refused)

    assert isinstance(first, InvalidRequestError)
    assert (type(again), str(again)) == (type(first), str(first))
    assert world.b.texts() == {}


def the_same_id_with_another_body(world: World) -> None:
    world.a.ask(commit("one", request_id="chosen-id"))
    world.b.new_lease()

    for each in (world.a, world.b):
        (outcome,) = each.group(commit("two", request_id="chosen-id"))
        assert isinstance(outcome, InvalidRequestError), outcome
    assert world.a.messages() == ["Initial commit", "one"]


def a_lost_create_leaves_nothing_behind_that_a_later_entry_could_lean_on(world: World) -> None:
    """A blob that only ever was in an entry that lost must not be left out of the next one."""
    world.store_a.before_put = lambda: world.b.ask(delete())
    world.a.group(commit("lost", {"precious": "content"}))
    world.a.ask(create())

    world.a.ask(commit("kept", {"precious": "content"}))

    assert world.restored_log() == ["Initial commit", "kept"]
    world.b.new_lease()
    assert world.b.texts()["precious"] == "content"


def a_delete_that_stopped_half_way_is_finished_by_the_next_who_comes(world: World) -> None:
    world.a.ask(commit("secret"))

    def crash() -> None:
        raise KeyboardInterrupt

    world.store_a.after_put = crash
    with pytest.raises(KeyboardInterrupt):
        world.a.ask(delete())

    world.b.new_lease()
    world.b.ask(create(new="life"))

    agent = world.folder / "store" / AGENT.org_id / AGENT.agent_id / "repo.git"
    sizes = {path.name: path.stat().st_size for path in sorted((agent / "journal").glob("*"))}
    assert [size > 0 for size in sizes.values()] == [False, False, True, True], sizes
    assert len(list((agent / "base").glob("*"))) == 1


# What is taken out, one rule each


def nothing(_patch: pytest.MonkeyPatch, _world: World) -> None:
    """The rules stand."""


def the_condition_of_the_create(_patch: pytest.MonkeyPatch, world: World) -> None:
    for store in (world.store_a, world.store_b):
        inner = store._store
        put = inner.put
        _patch.setattr(inner, "put", lambda key, data, _when, put=put: put(key, data, ALWAYS))


def the_markers(patch: pytest.MonkeyPatch, _world: World) -> None:
    """Free the numbers of a deleted repository."""
    original = seal_module.clean

    def clean(
        store: Store,
        layout: Layout,
        seal: int,
        lines: Iterable[LedgerLine],
        executor: Executor,
        markers_max: int | None = None,
        left: list[str] | None = None,
    ) -> None:
        original(store, layout, seal, lines, executor, markers_max, left)
        store.delete(
            [item.key for item in store.list(layout.journal) if present(layout.entry_seq(item.key)) < seal]
        )

    patch.setattr(opening_module, "clean", clean)


def the_reading_back(patch: pytest.MonkeyPatch, _world: World) -> None:
    """Take an unknown answer for a lost number."""

    def append(store: Store, key: str, data: bytes) -> Append:
        try:
            store.put(key, data, ABSENT)
        except (UnavailableError, PreconditionFailedError):
            return Append.LOST
        return Append.DONE

    patch.setattr(turn_module, "append", append)
    the_ledger(patch, _world)


def the_ledger(patch: pytest.MonkeyPatch, _world: World) -> None:
    patch.setattr(Draft, "settled", lambda self, request_id: self.lines.get(request_id))


def the_ledger_across_seals(patch: pytest.MonkeyPatch, _world: World) -> None:
    patch.setattr(
        seal_module,
        "encode_entry",
        lambda objects, refs, needed, _lines, deltas=None: encode_entry(objects, refs, needed, (), deltas),
    )
    patch.setattr(Opener, "clean", _clean_forgetting(Opener.clean))


def _clean_forgetting(clean: Clean) -> Clean:
    def forgetting(self: Opener, repo: WarmRepo) -> WarmRepo:
        fresh = clean(self, repo)
        fresh.ledger = Ledger(fresh.path)
        return fresh

    return forgetting


def the_lines_of_what_changed_nothing(patch: pytest.MonkeyPatch, _world: World) -> None:
    """Keep in the ledger only what made a commit."""
    settle = Draft.settle
    patch.setattr(
        Draft, "settle", lambda self, line: settle(self, line) if line.verdict == "committed" else None
    )


def the_digest(patch: pytest.MonkeyPatch, _world: World) -> None:
    from memrepo.wire.requests.base import Request

    patch.setattr(Request, "digest", "0" * 32)


def the_dropping_of_what_was_deleted(patch: pytest.MonkeyPatch, _world: World) -> None:
    """Follow a journal across a seal with the old objects still there, and take what its base tells again for new."""

    def catch_up(self: Opener, repo: WarmRepo, *_: object, **_more: object) -> bool:
        seq = repo.state.seq
        layout = self._layout
        listed = self._dependencies.store.list(layout.bases)
        bases = {base: item.size for item in listed if (base := layout.base_seq(item.key))}
        newest = max(bases, default=0)
        if newest > seq:
            repo.absorb([self.journal.parts.base(newest, bases[newest])])
        for entries in self.journal.since(repo.state.seq):
            repo.absorb(entries)
        return True

    patch.setattr(Opener, "_catch_up", catch_up)
    patch.setattr(Ledger, "following", lambda _, lines: iter(lines))


def the_order_of_append_and_install(patch: pytest.MonkeyPatch, _world: World) -> None:
    """Take objects into the warm repository before they are published, and leave out what is there already."""
    encode = Draft.encode

    def encode_what_is_new_here(self: Draft) -> Content:
        known = PUBLISHED_OR_NOT
        fresh = {sha: item for sha, item in self.objects.items() if sha not in known}
        known.update(self.objects)
        whole, self.objects = self.objects, fresh
        try:
            return encode(self)
        finally:
            self.objects = whole

    PUBLISHED_OR_NOT.clear()
    patch.setattr(Draft, "encode", encode_what_is_new_here)


PUBLISHED_OR_NOT: set[str] = set()


def the_finishing_of_deletes(patch: pytest.MonkeyPatch, _world: World) -> None:
    patch.setattr("memrepo_worker.repos.warm.WarmRepo.needs_cleaning", property(lambda _self: False))


SCHEDULES: list[tuple[Schedule, Rule]] = [
    (paused_before_its_put_while_another_commits, the_condition_of_the_create),
    (paused_before_its_put_while_another_deletes, the_condition_of_the_create),
    (paused_before_its_put_while_another_deletes_and_re_creates, the_dropping_of_what_was_deleted),
    (paused_long_before_its_put_while_the_numbers_below_are_cleaned, the_markers),
    (paused_between_put_and_answer_while_another_commits, the_reading_back),
    (the_same_request_at_two_writers, the_ledger),
    (a_no_op_then_a_change_then_the_no_op_again, the_lines_of_what_changed_nothing),
    (a_delete_a_re_create_then_the_delete_again, the_ledger_across_seals),
    (a_failed_request_again_when_it_would_succeed, the_lines_of_what_changed_nothing),
    (the_same_id_with_another_body, the_digest),
    (a_lost_create_leaves_nothing_behind_that_a_later_entry_could_lean_on, the_order_of_append_and_install),
    (a_delete_that_stopped_half_way_is_finished_by_the_next_who_comes, the_finishing_of_deletes),
]


@pytest.mark.parametrize("schedule", [pair[0] for pair in SCHEDULES], ids=lambda schedule: schedule.__name__)
def test_the_journal_survives(schedule: Schedule, world: World) -> None:
    schedule(world)


@pytest.mark.parametrize(
    ("schedule", "rule"), SCHEDULES, ids=lambda item: item.__name__ if callable(item) else None
)
def test_the_schedule_notices_when_its_rule_is_taken_out(
    schedule: Schedule, rule: Rule, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule(monkeypatch, world)

    with pytest.raises(BaseException) as noticed:  # noqa: PT011 - however it shows
        schedule(world)

    assert not isinstance(noticed.value, AttributeError | TypeError | NameError), (
        "the schedule itself is broken"
    )
