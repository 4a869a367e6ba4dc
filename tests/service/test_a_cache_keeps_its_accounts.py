"""What warm repositories take is known exactly, on disk and in memory, and kept within what processes share."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.limits import KIB, MIB
from memrepo_worker.bounds import CacheLimits
from memrepo_worker.group import Agent
from memrepo_worker.observe import Counters
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.slots import Slot, Usage, bytes_on_disk
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import GET_BYTES_MAX, StoredObject, UnavailableError
from tests.support.stock_git import stock_git
from tests.support.writers import Writer, commit, create, files, writer

LARGE = "x" * 100 * KIB


@contextmanager
def as_agent(one: Writer, number: int) -> Iterator[Writer]:
    yield replace(one, agent=Agent("acme", f"agent-{number}"))


def begin(one: Writer, number: int, text: str = "text") -> None:
    """Make an agent's memory, and have it written to disk."""
    with as_agent(one, number) as other:
        request = create(**{"a.txt": text})
        other.ask(request.model_copy(update={"agent_id": other.agent.agent_id}))
        with one.service.cache.hold(other.agent) as held:
            repo = held.find()
            assert repo is not None
            repo.save()
    one.service.cache._evict()


def on_disk(folder: Path) -> Usage:
    """What lies in all slots of a cache folder."""
    found = list(folder.glob("slot-*/*/"))
    return Usage(len(found), sum(map(bytes_on_disk, found)))


def test_the_account_is_what_the_disk_holds_after_every_step(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        for number in range(4):
            begin(one, number, LARGE)
            assert one.service.cache.accounts.usage == on_disk(tmp_path / "one")
        for step in range(70):
            one.ask(commit(f"step {step}"))
            assert one.service.cache.accounts.usage == on_disk(tmp_path / "one")
        with one.service.cache.hold(Agent("acme", "agent-2")) as held:
            held.drop()
        assert one.service.cache.accounts.usage == on_disk(tmp_path / "one")
        kept = one.service.cache.accounts.usage
    with writer(store, tmp_path / "one") as again:
        assert again.service.cache.accounts.usage == on_disk(tmp_path / "one")
        assert again.service.cache.accounts.usage.repos == kept.repos


def test_bytes_on_disk_are_kept_within_their_limit_by_what_was_used_longest_ago(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        begin(one, 0, LARGE)
        each = one.service.cache.accounts.usage.disk_bytes
        one.service.cache.accounts.limits = CacheLimits(disk_bytes_max=3 * each + each // 2)
        for number in range(1, 6):
            begin(one, number, LARGE)
            assert on_disk(tmp_path / "one").disk_bytes <= one.service.cache.accounts.limits.disk_bytes_max
        kept = [one.service.cache.is_warm(Agent("acme", f"agent-{number}")) for number in range(6)]
    assert kept == [False, False, False, True, True, True]


def test_one_that_is_larger_than_the_limit_stays_until_another_is_used(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", cache_bytes_max=KIB) as one:
        begin(one, 1, LARGE)
        with as_agent(one, 1) as other:
            assert other.ask(files()).files["a.txt"].text == LARGE
        assert one.counters.snapshot()["repo.opened_cold"] == 1
        begin(one, 2)
        assert not one.service.cache.is_warm(Agent("acme", "agent-1"))


def test_memory_is_kept_within_its_limit_and_what_is_let_go_is_found_on_disk(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", cache_memory_bytes_max=MIB) as one:
        for number in range(20):
            begin(one, number, LARGE)
            with as_agent(one, number) as other:
                other.ask(commit("more", {"b.txt": LARGE}))
            assert one.service.cache.accounts.memory_bytes <= MIB
        counts = one.counters.snapshot()
        assert counts["cache.unloaded"] > 0
        assert "cache.dropped" not in counts
        with as_agent(one, 0) as other:
            assert other.ask(files()).files["b.txt"].text == LARGE
        assert one.counters.snapshot()["repo.opened_cold"] == 20
        assert one.counters.snapshot()["cache.found"] >= 1


def test_a_repository_in_use_is_never_let_go(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        begin(one, 1)
        begin(one, 2)
        cache = one.service.cache
        cache.accounts.limits = CacheLimits(repos_max=1, memory_bytes_max=1)
        with cache.hold(Agent("acme", "agent-1")) as held:
            repo = held.find()
            for number in range(3, 6):
                begin(one, number)
            assert held.find() is repo
            assert repo is not None
            assert repo.path.exists()
        begin(one, 6)
        assert not repo.path.exists()


def test_room_is_made_for_a_full_disk_by_none_that_is_in_use(store: LocalStore, tmp_path: Path) -> None:
    agents = [Agent("acme", f"agent-{number}") for number in range(4)]
    with writer(store, tmp_path / "one") as one:
        for number in range(4):
            begin(one, number)
    with writer(store, tmp_path / "one") as again:
        cache = again.service.cache
        for number in (2, 3):  # the others lie on the disk alone
            with as_agent(again, number) as other:
                other.ask(files())
        with cache.hold(agents[0]), cache.hold(agents[2]):
            assert cache.make_room() == 2
            assert [cache.path_of(agent) is not None for agent in agents] == [True, False, True, False]


def test_trouble_while_room_is_made_keeps_no_agent_from_its_next_request(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, tmp_path / "one") as one:
        for number in range(4):
            begin(one, number)
        cache = one.service.cache
        with monkeypatch.context() as patch:
            patch.setattr("memrepo_worker.repos.cache.remove_repo", _without_memory)
            with pytest.raises(MemoryError):
                cache.make_room()
        assert not cache._held, "who comes next would wait for ever"


def test_an_opening_that_was_broken_off_leaves_nothing_on_the_disk(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        begin(one, 1, LARGE)
    folder = tmp_path / "two"

    class Failing(StoreDecorator):
        """Lists entries, and gives none."""

        fails = True

        def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
            if self.fails and "/journal/" in key:
                raise UnavailableError(key)
            return super().get(key, bytes_max)

    failing = Failing(store)
    with writer(failing, folder) as two, as_agent(two, 1) as other:
        with pytest.raises(UnavailableError):
            other.ask(files())
        assert two.counters.snapshot()["cache.fresh"] == 1, "it was begun"
        assert on_disk(folder) == Usage() == two.service.cache.accounts.usage

        failing.fails = False
        assert other.ask(files()).files["a.txt"].text == LARGE
        assert two.service.cache.accounts.usage == on_disk(folder)


def test_who_comes_to_an_end_late_leaves_the_next_process_its_repositories(
    store: LocalStore, tmp_path: Path
) -> None:
    """As upkeep that waits for the store while its process ends, and another begins in its place."""
    folder = tmp_path / "one"
    with writer(store, folder) as one:
        for number in range(3):
            begin(one, number)
        cache = one.service.cache
        with cache.hold(Agent("acme", "agent-2")):
            cache.close()
            again = RepoCache(folder, store.name, stock_git(), Counters())
            assert again.folder == cache.folder
            cache.accounts.limits = CacheLimits(repos_max=1)
        assert on_disk(folder).repos == 3
        again.close()


def test_trouble_with_an_account_fails_no_request_and_keeps_no_agent_from_its_next_one(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create())
    cache = one.service.cache
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_weigh", _unreadable)
        with cache.hold(one.agent):
            pass
    assert one.counters.snapshot()["cache.failed"] == 1
    assert not cache._held, "who comes next would wait for ever"


def test_what_may_not_be_looked_at_counts_nothing_and_the_rest_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "hidden").write_bytes(b"x" * 5000)
    (tmp_path / "other").write_bytes(b"x" * 3000)
    whole = bytes_on_disk(tmp_path)
    hidden = bytes_on_disk(tmp_path / "below")
    scandir = os.scandir

    def refusing(folder: Path) -> object:
        if Path(folder).name == "below":
            _unreadable()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    assert bytes_on_disk(tmp_path) == whole - hidden > 0


def test_another_agents_repository_that_cannot_be_saved_fails_no_request(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, tmp_path / "one") as one:
        begin(one, 1)
        with as_agent(one, 1) as other, one.service.cache.hold(other.agent) as held:
            repo = held.in_memory()
            assert repo is not None
        monkeypatch.setattr(repo, "save", _broken)
        one.service.cache.accounts.limits = CacheLimits(memory_bytes_max=1)
        begin(one, 2)
        with as_agent(one, 2) as other:
            assert other.ask(files()).files["a.txt"].text == "text"
        assert not one.service.cache.is_warm(Agent("acme", "agent-1"))


def _unreadable(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def _without_memory(*_: object) -> None:
    raise MemoryError


def _broken() -> None:
    raise ValueError("not what was expected")


def test_a_restart_finds_all_and_proves_each_by_one_round(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        for number in range(3):
            begin(one, number)
    with writer(store, tmp_path / "one") as again:
        for number in range(3):
            before = again.counters.snapshot()
            with as_agent(again, number) as other:
                assert other.ask(files()).files["a.txt"].text == "text"
                other.ask(files())
            asked = {
                name: amount - before.get(name, 0)
                for name, amount in again.counters.snapshot().items()
                if name.startswith("store.") and name.endswith(".requests")
            }
            # The entry that it claims to be at, and a listing from there: asked for side by side.
            assert {name: amount for name, amount in asked.items() if amount} == {
                "store.get.requests": 1,
                "store.list.requests": 1,
            }
        assert "repo.opened_cold" not in again.counters.snapshot()


def test_processes_share_one_limit_and_who_keeps_more_gives_way(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    with writer(store, folder) as one, writer(store, folder) as two:
        for number in range(6):
            begin(one, number)
        for cache in (one.service.cache, two.service.cache):
            cache.accounts.limits = CacheLimits(repos_max=6)
            cache.accounts._looked_at_s = -1e9
        begin(two, 6)
        assert two.service.cache.accounts.usage.repos == 1, "it keeps less than its share"
        for number in range(7, 12):
            for cache in (one.service.cache, two.service.cache):
                cache.accounts._looked_at_s = -1e9
            begin(two, number)
            one.service.cache._evict()  # as each turn does
        assert one.service.cache.accounts.usage.repos == 3
        assert two.service.cache.accounts.usage.repos == 3
        assert on_disk(folder).repos == 6


def test_what_ended_processes_left_goes_before_what_is_in_use(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    with writer(store, folder) as one:
        begin(one, 0)
        with writer(store, folder) as two:
            for number in range(1, 6):
                begin(two, number)
        one.service.cache.accounts.limits = CacheLimits(repos_max=4)
        for number in range(6, 9):
            begin(one, number)
            one.service.cache.accounts._looked_at_s = -1e9
        assert one.service.cache.accounts.usage.repos == 4
        assert on_disk(folder).repos == 4


@pytest.mark.parametrize("told", [b"", b"none of it", b"9" * 40])
def test_an_account_of_another_that_is_no_account_counts_as_nothing(tmp_path: Path, told: bytes) -> None:
    one, two = Slot.take(tmp_path), Slot.take(tmp_path)
    two.tell(Usage(2, 300))
    assert (one.others().usage, one.others().processes) == (Usage(2, 300), 1)
    (tmp_path / "slot-001" / "lock").write_bytes(told)
    assert one.others().usage == Usage()
    two.close()
    assert one.others().processes == 0
    one.close()


def test_a_slot_is_found_again_while_others_look_at_it_without_end(tmp_path: Path) -> None:
    one, two = Slot.take(tmp_path), Slot.take(tmp_path)
    one.close()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            two.others()

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(100):
            again = Slot.take(tmp_path)
            assert again.path.name == "slot-000"
            again.close()
    finally:
        over.set()
        for thread in looking:
            thread.join()
        two.close()


def test_a_killed_process_leaves_an_account_that_the_next_one_counts_anew(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        begin(one, 1)
    (slot,) = (tmp_path / "one").iterdir()
    (slot / "lock").write_bytes(b"%12d %20d\n" % (99, 10**12))
    cache = RepoCache(tmp_path / "one", store.name, stock_git(), Counters())
    assert cache.accounts.usage == on_disk(tmp_path / "one")
    assert (slot / "lock").read_bytes().split()[0] == b"1"
    cache.close()
