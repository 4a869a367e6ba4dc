"""Whatever a store does, fail, race, or grow, no commit that was acknowledged is lost and no verdict changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from memrepo.errors import RepoNotFoundError, RequestExpiredError
from memrepo.wire.requests.base import Request
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import UnavailableError, Version, When
from tests.support.faulty_store import Fault, FaultyStore, Operation, Plan
from tests.support.hooked_store import HookedStore
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, writer, writers

MANY = 2_200


def test_acknowledged_commits_stay_though_git_gc_packs_the_refs(tmp_path: Path) -> None:
    """There it took about 2,000 commits for gc to pack the refs; a stale loose ref then hid all later commits."""
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        for start in range(0, MANY, 100):
            one.group(*(commit(f"step {number}", {"n": str(number)}) for number in range(start, start + 100)))
        warm = one.warm()
        warm.save()
        git(warm.path, "gc", "--quiet")
        git(warm.path, "pack-refs", "--all")
        last = one.ask(commit("after gc"))

    with writer(store, tmp_path / "one") as again, writer(store, tmp_path / "other") as other:
        for each in (again, other):
            assert each.ask(commit("look", {"nothing": None})).sha == last.sha
    shutil.rmtree(tmp_path / "one")
    folder = tmp_path / "store" / AGENT.org_id / AGENT.agent_id / "repo.git"
    restored = restore(folder, tmp_path / "restored.git")
    assert int(git(restored, "rev-list", "--count", "main")) == MANY + 2


def test_after_a_failed_put_the_repository_is_read_and_written_on(tmp_path: Path) -> None:
    inner = LocalStore(tmp_path / "store")
    for fault in (Fault.LOST, Fault.TIMEOUT, Fault.ANSWER_LOST, Fault.CONFLICT, Fault.THROTTLED, Fault.LATE):
        agent_store = FaultyStore(inner, first_put(fault))
        with writer(agent_store, tmp_path / f"faulty-{fault.name}") as one:
            group = (create("create-once"), commit(f"with {fault.name}"))
            until_answered(one, group)
        agent_store.land_late_puts()
        with writer(inner, tmp_path / f"clean-{fault.name}") as other:
            assert other.texts()[f"with {fault.name}"] == f"with {fault.name}"
            assert other.ask(commit(f"after {fault.name}")).created


def first_put(fault: Fault) -> Plan:
    state = {"left": 1}

    def plan(operation: Operation, _key: str) -> Fault | None:
        if operation is Operation.PUT and state["left"]:
            state["left"] = 0
            return fault
        return None

    return plan


def until_answered(one: Writer, group: Sequence[Request], attempts: int = 10) -> list[Any]:
    for _ in range(attempts):
        with suppress(UnavailableError):
            return one.group(*group)
    raise AssertionError(f"not answered in {attempts} attempts")


def test_a_slow_upload_and_quick_ones_beside_it_are_all_kept(tmp_path: Path) -> None:
    """There is no lock to expire: a writer that sleeps through any time at all finds that its number was taken."""
    store = LocalStore(tmp_path / "store")
    slow = HookedStore(store)
    with writer(slow, tmp_path / "slow") as one, writer(store, tmp_path / "quick") as two:
        one.ask(create())
        slow.before_put = lambda: [two.ask(commit(f"meanwhile {number}")) for number in range(3)]

        one.ask(commit("slow"))

        two.new_lease()
        assert two.messages() == ["Initial commit", *(f"meanwhile {number}" for number in range(3)), "slow"]


def test_eight_commits_at_once_are_all_kept(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    with writers(store, tmp_path, 8) as many:
        many[0].ask(create())
        barrier = Barrier(8)

        def race(number: int) -> None:
            barrier.wait()
            many[number].ask(commit(f"racer {number}"))

        threads = [Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        many[0].new_lease()
        assert sorted(many[0].messages()) == ["Initial commit", *(f"racer {number}" for number in range(8))]


def test_readers_see_whole_commits_alone(tmp_path: Path) -> None:
    """A reader that looks at every moment of a commit of two files sees both, or none."""
    store = LocalStore(tmp_path / "store")
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one, writer(store, tmp_path / "reader") as reader:
        one.ask(create(begin="x"))
        seen = []

        def look() -> None:
            reader.new_lease()
            seen.append(set(reader.texts()))

        hooked.before_put = hooked.after_put = look
        one.ask(commit("both", {"left": "1", "right": "2"}))
        look()

    assert seen == [{"begin"}, {"begin", "left", "right"}, {"begin", "left", "right"}]


def test_a_commit_that_races_with_a_delete_begins_nothing_anew(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one, writer(store, tmp_path / "two") as two:
        one.ask(create(secret="x"))
        two.messages()
        hooked.before_put = lambda: two.ask(delete())

        (racing,) = one.group(commit("racing"))

        assert isinstance(racing, RepoNotFoundError)
        with pytest.raises(RepoNotFoundError):
            two.texts()


class Standin(StoreDecorator):
    """A store whose puts go elsewhere."""

    def __init__(self, store: LocalStore, put: Callable[[str, bytes, When], Version]) -> None:
        super().__init__(store)
        self._put = put

    def put(self, key: str, data: bytes, when: When) -> Version:
        return self._put(key, data, when)


def test_a_request_that_was_refused_as_expired_stays_so_though_its_create_arrives_late(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    request = commit("slow")
    with writer(hooked, tmp_path / "one") as one:
        one.ask(create())
        put = hooked._store.put
        late = []

        def lost(key: str, data: bytes, when: When) -> Version:
            late.append((key, data, when))
            raise UnavailableError("under way")

        hooked._store = Standin(store, lost)
        with pytest.raises(UnavailableError):
            one.ask(request)
        hooked._store = store
        object.__setattr__(one.service.dependencies, "clock", lambda: NOW_S + 90_000)

        with pytest.raises(RequestExpiredError):
            one.ask(request)

        with suppress(Exception):
            put(*late[0])
        one.new_lease()
        with pytest.raises(RequestExpiredError):
            one.ask(request)


def test_a_commit_before_the_create_of_its_group_stays_refused_when_the_answer_was_lost(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    early, begin = commit("early"), create()
    with writer(hooked, tmp_path / "one") as one, writer(store, tmp_path / "two") as two:

        def crash() -> None:
            raise KeyboardInterrupt

        hooked.after_put = crash
        with suppress(KeyboardInterrupt):
            one.group(early, begin)

        outcomes = two.group(early, begin)

    assert isinstance(outcomes[0], RepoNotFoundError)
    assert outcomes[1].created
