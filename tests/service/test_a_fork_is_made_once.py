"""A fork begins a memory, so that one made twice, in part, or told wrongly would show: whatever happens, it is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from memrepo import (
    CommitResult,
    MemoryDamagedError,
    RefNotFoundError,
    RepoExistsError,
    RepoNotFoundError,
    TooLargeError,
    WorkerOutdatedError,
)
from memrepo.wire import operations
from memrepo.wire.requests.forks import ForkRequest, GetOriginsRequest
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.journal.entry import HEAD_BRANCH, decode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ALWAYS, StoredRange, UnavailableError
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, writer
from tests.support.writers import history as commits

COPY = Agent(AGENT.org_id, "agent-2")
LAYOUT, COPIED = (Layout.of(agent.org_id, agent.agent_id) for agent in (AGENT, COPY))


def fork(request_id: str, source: str = AGENT.agent_id, **body: Any) -> ForkRequest:
    return operations.build(
        ForkRequest,
        org_id=AGENT.org_id,
        agent_id=source,
        request_id=request_id,
        enqueued_at=NOW_S,
        new_agent_id=COPY.agent_id,
        **body,
    )


def origins(one: Writer) -> list[Any]:
    asked = one.ask(
        operations.build(
            GetOriginsRequest,
            org_id=COPY.org_id,
            agent_id=COPY.agent_id,
            request_id="request-origins",
            enqueued_at=NOW_S,
        )
    )
    assert isinstance(asked, list)
    return asked


def ask(one: Writer, request: ForkRequest) -> CommitResult:
    made = replace(one, agent=Agent(request.org_id, request.agent_id)).ask(request)
    assert isinstance(made, CommitResult)
    return made


def on_copy(one: Writer) -> Writer:
    """The same worker, asked by the agent that is forked into."""
    return replace(one, agent=COPY)


def for_copy(request: Any) -> Any:
    return request.model_copy(update={"agent_id": COPY.agent_id})


@contextmanager
def source_and_copy(store: Any, cache: Path, **changed: Any) -> Iterator[tuple[Writer, Writer]]:
    """A memory of three commits, and the agent that is to begin with it."""
    with writer(store, cache, **changed) as one:
        one.ask(create("request-a", log="0\n"))
        one.ask(commit("second", {"log": "1\n", "b": "b" * 5000}))
        one.ask(commit("third", {"c": "c"}))
        yield one, on_copy(one)


def die() -> None:
    """End as nothing in the service expects."""
    raise ZeroDivisionError


@contextmanager
def source_and_stranger(store: Any, folder: Path) -> Iterator[tuple[Writer, Writer]]:
    """That memory, and the agent that is to begin with it, at a worker that has nothing warm."""
    with source_and_copy(store, folder / "a") as (source, _), writer(store, folder / "cold") as cold:
        yield source, on_copy(cold)


@pytest.mark.parametrize("history", [True, False])
def test_a_fork_is_packed_and_read_by_git_once_and_is_whole_where_it_was_made(
    store: LocalStore, tmp_path: Path, history: bool
) -> None:
    with source_and_copy(store, tmp_path / "a") as (_, copy):
        before = copy.counters.snapshot().get("process.started", 0)
        made = ask(copy, fork("request-f", history=history))
        assert copy.counters.snapshot()["process.started"] - before == 2

        copy.ask(for_copy(commit("own", {"log": "2\n"})))
        now = copy.ask(for_copy(files()))
        assert {path: file.text for path, file in now.files.items()} == {
            "log": "2\n",
            "b": "b" * 5000,
            "c": "c",
        }
        shas = [one.sha for one in copy.ask(for_copy(commits()))]
        assert shas[1] == made.sha
        assert len(shas) == (4 if history else 2)
    with writer(store, tmp_path / "a") as later:
        assert on_copy(later).ask(for_copy(files())) == now
    copied = restore(tmp_path / "store/acme/agent-2/repo.git", tmp_path / "restored.git")
    git(copied, "fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("history", [True, False])
def test_a_fork_of_a_worker_that_died_before_the_answer_is_not_made_again(
    store: LocalStore, tmp_path: Path, history: bool
) -> None:
    hooked = HookedStore(store)
    with source_and_copy(hooked, tmp_path / "a") as (source, copy):
        hooked.after_put = die
        with pytest.raises(ZeroDivisionError):
            ask(copy, fork("request-f", history=history))
        source.ask(commit("later", {"log": "2\n"}))

    with writer(store, tmp_path / "b") as other:
        b = on_copy(other)
        made = ask(b, fork("request-f", history=history))

        assert made == ask(b, fork("request-f", history=history))
        assert len(list(store.list(COPIED.journal))) == 1
        assert b.messages()[0].startswith("Initial commit" if history else "Fork of agent-1")
        assert (made.message == "third") is history


@pytest.mark.parametrize("history", [True, False])
def test_a_fork_whose_answer_was_lost_is_told_as_it_was_made(
    store: LocalStore, tmp_path: Path, history: bool
) -> None:
    hooked = HookedStore(store)
    with source_and_copy(hooked, tmp_path / "a") as (_, copy):
        hooked.after_put = answer_lost
        made = ask(copy, fork("request-f", history=history))

        assert copy.ask(for_copy(commit("own"))).parent_sha == made.sha
        assert len(list(store.list(COPIED.journal))) == 2


def test_a_fork_that_may_have_landed_is_not_told_to_have_failed(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with source_and_copy(hooked, tmp_path / "a") as (source, copy):
        hooked.after_put = die
        with pytest.raises(ZeroDivisionError):
            ask(copy, fork("request-f"))
        landed = store.get(COPIED.entry(1)).data
        store.delete([COPIED.entry(1)])  # as if it were still on its way
        source.delete()

        with pytest.raises(
            RepoNotFoundError, match=r"agent-1 has no memory.*if you gave a request id, give a new one"
        ):
            ask(copy, fork("request-f"))

        assert store.get(COPIED.entry(1)).data != landed  # its number is taken: whatever comes late has lost
        with pytest.raises(RepoNotFoundError, match="give a new one"):
            ask(copy, fork("request-f"))
        copy.ask(for_copy(create("request-n", mine="1")))
        assert copy.texts() == {"mine": "1"}


def test_of_two_workers_that_fork_at_once_one_makes_it(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with source_and_copy(hooked, tmp_path / "a") as (_, a), writer(store, tmp_path / "b") as b:
        made: list[CommitResult] = []
        hooked.before_put = lambda: made.append(ask(on_copy(b), fork("request-f")))

        assert ask(a, fork("request-f")) == made[0]
        assert len(list(store.list(COPIED.journal))) == 1


def test_a_fork_that_loses_its_number_to_another_beginning_is_refused(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    with source_and_copy(hooked, tmp_path / "a") as (_, a), writer(store, tmp_path / "b") as b:
        begun = for_copy(create("request-n", mine="1"))
        hooked.before_put = lambda: on_copy(b).ask(begun)

        with pytest.raises(RepoExistsError):
            ask(a, fork("request-f"))
        assert a.texts() == {"mine": "1"}
        assert origins(a) == []


def test_stock_git_gets_a_fork_out_and_finds_where_it_comes_from(store: LocalStore, tmp_path: Path) -> None:
    with source_and_copy(store, tmp_path / "a") as (source, copy):
        made = ask(copy, fork("request-f"))
        copy.ask(for_copy(commit("own")))
        whole = restore(tmp_path / "store/acme/agent-1/repo.git", tmp_path / "whole.git")

    restored = restore(tmp_path / "store/acme/agent-2/repo.git", tmp_path / "restored.git")
    git(restored, "fsck", "--strict", "--no-dangling")
    log = git(whole, "log", "--format=%H", "main")
    assert git(restored, "log", "--format=%H", "main~1") == log
    bundle = tmp_path / "store/acme/agent-2/repo.git/journal" / f"{2:020d}.bundle"
    first = bundle.with_name(f"{1:020d}.bundle")
    git(restored, "fetch", "--quiet", str(first), "refs/memrepo/origin")
    said = git(restored, "cat-file", "blob", "FETCH_HEAD").decode()
    assert made.sha in said
    assert '"agent_id": "agent-1"' in said
    assert decode_entry(2, bundle.read_bytes()).origin_sha == decode_entry(1, first.read_bytes()).origin_sha
    assert source.agent == AGENT


def test_a_fork_is_opened_by_whoever_serves_it_next(store: LocalStore, tmp_path: Path) -> None:
    with source_and_copy(store, tmp_path / "a") as (source, copy):
        ask(copy, fork("request-f"))
        files = source.texts()

    with writer(store, tmp_path / "b") as b, writer(store, tmp_path / "a") as warm:
        assert on_copy(b).texts() == on_copy(warm).texts() == files
        assert origins(on_copy(b)) == origins(on_copy(warm)) != []


@pytest.mark.parametrize("history", [True, False])
def test_what_is_more_than_an_entry_may_hold_is_refused_with_what_helps(
    store: LocalStore, tmp_path: Path, history: bool
) -> None:
    with source_and_copy(store, tmp_path / "a", fork_bytes_max=400) as (_, copy):
        before = copy.counters.snapshot().get("process.started", 0)
        with pytest.raises(TooLargeError, match="MEMREPO_FORK_BYTES_MAX") as refused:
            ask(copy, fork("request-f", history=history))

        assert copy.counters.snapshot()["process.started"] - before == 1, "git packs it, and reads none of it"
        assert ("history=False" in refused.value.message) is history
        assert refused.value.details["bound"] == "fork_bytes_max"
        assert copy.counters.snapshot()["bounds.fork_bytes"] == 1
        with pytest.raises(RepoNotFoundError):
            copy.texts()


def test_a_damaged_memory_is_named_and_the_same_fork_is_made_once_it_was_mended(
    store: LocalStore, tmp_path: Path
) -> None:
    with source_and_stranger(store, tmp_path) as (_, copy):
        whole = store.get(LAYOUT.entry(2)).data
        store.put(LAYOUT.entry(2), whole[:-30] + bytes(30), ALWAYS)

        with pytest.raises(MemoryDamagedError, match="agent-1, which was to be forked") as told:
            ask(copy, fork("request-f"))

        assert told.value.details["key"] == LAYOUT.entry(2)
        assert not list(store.list(COPIED.prefix))
        store.put(LAYOUT.entry(2), whole, ALWAYS)
        assert ask(copy, fork("request-f")).message == "third"


def test_a_memory_that_a_newer_version_wrote_is_named(store: LocalStore, tmp_path: Path) -> None:
    with source_and_stranger(store, tmp_path) as (_, copy):
        data = store.get(LAYOUT.entry(3)).data
        newer = data.replace(b"# v2 git bundle", b"# v9 git bundle")
        store.put(LAYOUT.entry(3), newer, ALWAYS)

        with pytest.raises(WorkerOutdatedError, match="agent-1, which was to be forked"):
            ask(copy, fork("request-f"))
        assert not list(store.list(COPIED.prefix))


def test_a_memory_that_is_deleted_while_it_is_read_is_not_there(store: LocalStore, tmp_path: Path) -> None:
    class DeletedMeanwhile(HookedStore):
        def list(self, prefix: str, start_after: str = "") -> Any:
            found = [*super().list(prefix, start_after)]
            if prefix == LAYOUT.journal and to_delete:
                to_delete.pop().delete()
            return iter(found)

    with writer(store, tmp_path / "b") as b:
        to_delete: list[Writer] = []
        with source_and_stranger(DeletedMeanwhile(store), tmp_path) as (_, copy):
            to_delete.append(b)

            with pytest.raises(RepoNotFoundError, match="agent-1 has no memory"):
                ask(copy, fork("request-f"))
            assert not to_delete


class Withheld(HookedStore):
    """Gives none of some objects."""

    keys: ClassVar[set[str]] = set()

    def get(self, key: str, bytes_max: int = 1 << 30) -> Any:
        self.refuse(key)
        return super().get(key, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Any = None) -> StoredRange:
        self.refuse(key)
        return super().get_range(key, start, bytes_max, pin)

    def refuse(self, key: str) -> None:
        if key in self.keys:
            raise UnavailableError("not now")


def test_a_store_that_does_not_give_the_other_memory_has_the_fork_wait(
    store: LocalStore, tmp_path: Path
) -> None:
    with source_and_stranger(Withheld(store), tmp_path) as (_, copy):
        Withheld.keys = {LAYOUT.entry(2)}
        with pytest.raises(UnavailableError, match="not now"):
            copy.service(Group(AGENT, (fork("request-f"),), Lease("lease-1", 1e12)))
        Withheld.keys = set()

        assert ask(copy, fork("request-f")).message == "third"


@pytest.mark.parametrize("history", [True, False])
def test_what_a_worker_has_warm_it_forks_without_reading_it_again(
    store: LocalStore, tmp_path: Path, history: bool
) -> None:
    with source_and_copy(Withheld(store), tmp_path / "a") as (source, copy):
        Withheld.keys = {LAYOUT.entry(seq) for seq in (1, 2, 3)}
        made = ask(copy, fork("request-f", history=history))
        Withheld.keys = set()

        assert made.message == (
            "third" if history else f"Fork of agent-1 at {source.warm().state.refs[HEAD_BRANCH]}"
        )
        with writer(store, tmp_path / "b") as b:
            assert on_copy(b).texts() == source.texts()


def test_what_another_worker_wrote_meanwhile_is_in_the_fork_of_a_warm_memory(
    store: LocalStore, tmp_path: Path
) -> None:
    with source_and_copy(store, tmp_path / "a") as (source, copy), writer(store, tmp_path / "b") as b:
        b.ask(commit("fourth", {"d": "d"}))
        source.new_lease()

        made = ask(replace(copy, lease_token=source.lease_token), fork("request-f"))

        assert made.message == "fourth"
        assert copy.texts()["d"] == "d"


def test_a_fork_is_no_staler_than_a_read_may_be(store: LocalStore, tmp_path: Path) -> None:
    with source_and_copy(store, tmp_path / "a", tip_proof_s=0.0) as (source, copy):
        with writer(store, tmp_path / "b") as b:
            b.ask(commit("fourth", {"d": "d"}))

        assert ask(copy, fork("request-f")).message == "fourth"
        assert source.texts()["d"] == "d"


def test_a_memory_that_another_worker_has_deleted_is_not_forked_from_a_warm_copy(
    store: LocalStore, tmp_path: Path
) -> None:
    with source_and_copy(store, tmp_path / "a") as (_, copy), writer(store, tmp_path / "b") as b:
        b.delete()

        with pytest.raises(RepoNotFoundError, match="agent-1 has no memory"):
            ask(replace(copy, lease_token="lease-2"), fork("request-f"))


def test_a_fork_of_a_warm_copy_that_is_damaged_is_made_from_the_store(
    store: LocalStore, tmp_path: Path
) -> None:
    with source_and_copy(store, tmp_path / "a") as (source, copy):
        source.warm().save()
        for pack in source.warm().path.glob("objects/pack/*.pack"):
            pack.write_bytes(pack.read_bytes()[:-40] + bytes(40))

        made = ask(copy, fork("request-f"))

        assert made.message == "third"
        assert copy.counters.snapshot()["repo.healed"] == 1
        with writer(store, tmp_path / "b") as b:
            assert on_copy(b).texts() == source.texts()


def test_nothing_is_left_of_what_was_read_also_after_a_refusal(store: LocalStore, tmp_path: Path) -> None:
    with source_and_copy(store, tmp_path / "a") as (_, copy):
        ask(copy, fork("request-f"))
        with pytest.raises(RefNotFoundError):
            ask(copy, fork("request-g", ref="nope").model_copy(update={"new_agent_id": "agent-3"}))
        (tmp_path / "a/slot-000/beside-left").mkdir()

        assert len(list((tmp_path / "a").glob("*/beside-*"))) == 1
    with writer(store, tmp_path / "a"):
        assert not list((tmp_path / "a").glob("*/beside-*"))


def test_a_delete_of_the_fork_leaves_no_origin_and_no_bytes(store: LocalStore, tmp_path: Path) -> None:
    with source_and_copy(store, tmp_path / "a") as (source, copy):
        ask(copy, fork("request-f"))
        copy.ask(for_copy(delete("request-d")))

        assert next(item.size for item in store.list(COPIED.journal)) == 0
        copy.ask(for_copy(create("request-n", mine="1")))
        assert origins(copy) == []
        assert source.texts()["c"] == "c"
