"""Repositories that a Letta server left behind become journals: same history, same shas, lost commits back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import RepoNotAdoptedError
from memrepo_worker.git.objects import COMMITTER_EMAIL, COMMITTER_NAME
from memrepo_worker.group import Agent
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.legacy_repository import LegacyRepository
from tests.support.stock_git import git, restore, stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, delete, files, writer

LONG = os.environ.get("LONG") == "1"

ODD = {
    "naïve café.md": "é".encode(),
    "with space": b"x",
    'quo"ted': b"q",
    "bin": bytes(range(256)),
    "日本": b"\r\n",
}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def adopter(store: LocalStore) -> Iterator[Adopter]:
    with ThreadPoolExecutor(4) as executor:
        yield Adopter(store, stock_git(), executor, lambda: NOW_S)


def legacy_repository(
    store: LocalStore,
    commits: int,
    *,
    gc_at: Sequence[int] = (),
    agent: Agent = AGENT,
    files_per_commit: int = 1,
) -> LegacyRepository:
    legacy = LegacyRepository(store, agent.org_id, agent.agent_id)
    legacy.create({"human.md": b"begin\n", **ODD})
    rnd = Random(commits)
    for number in range(1, commits):
        changes = {f"notes/{rnd.randrange(60)}.md": rnd.randbytes(40) for _ in range(files_per_commit)}
        legacy.commit(changes, f"step {number}", gc=number in gc_at)
    return legacy


def restored(tmp_path: Path, agent: Agent = AGENT) -> Path:
    return restore(tmp_path / "store" / agent.org_id / agent.agent_id / "repo.git", tmp_path / "restored.git")


@pytest.mark.parametrize("commits", [1, 20, *([300] if LONG else [])])
def test_history_and_shas_are_unchanged(
    commits: int, store: LocalStore, adopter: Adopter, tmp_path: Path
) -> None:
    legacy = legacy_repository(store, commits)

    report = adopter.adopt(AGENT)

    assert (report.commits, report.branches, report.recovered) == (commits, 1, {})
    repo = restored(tmp_path)
    assert git(repo, "rev-list", "--reverse", "main").decode().split() == legacy.acknowledged
    git(repo, "fsck", "--strict")


def test_an_adopted_memory_is_read_and_written_like_any_other(
    store: LocalStore, adopter: Adopter, tmp_path: Path
) -> None:
    legacy = legacy_repository(store, 3)
    adopter.adopt(AGENT)

    with writer(store, tmp_path / "cache") as one:
        snapshot = one.ask(files())
        assert {path: snapshot[path].data for path in ODD} == ODD
        assert one.ask(commit("after adoption")).parent_sha == legacy.acknowledged[-1]
        assert one.messages() == ["Initial commit", "step 1", "step 2", "after adoption"]
        one.ask(delete())
    assert not list((tmp_path / "store").rglob("HEAD")), "delete also removes the legacy files"


def test_commits_that_were_lost_to_gc_are_back(store: LocalStore, adopter: Adopter, tmp_path: Path) -> None:
    """Every commit that it acknowledged is reachable again, though its own log shows fewer."""
    gc_at = (4, 8, 9, 10, 15, 19)
    legacy = legacy_repository(store, 20, gc_at=gc_at, files_per_commit=20)
    lost = set(legacy.acknowledged) - set(legacy.log())
    assert lost == {legacy.acknowledged[number] for number in gc_at}

    report = adopter.adopt(AGENT)

    repo = restored(tmp_path)
    assert set(git(repo, "rev-list", "--all").decode().split()) == set(legacy.acknowledged)
    assert sum(report.recovered.values()) == len(lost)
    git(repo, "fsck", "--strict")


def test_a_branch_whose_stale_loose_ref_hides_later_commits_moves_on(
    store: LocalStore, adopter: Adopter
) -> None:
    legacy = legacy_repository(store, 4)
    stale = legacy.acknowledged[1]
    newest = legacy.acknowledged[-1]
    store.put(
        f"{legacy.prefix}packed-refs", f"# pack-refs with:\n{newest} refs/heads/main\n".encode(), ALWAYS
    )
    store.put(f"{legacy.prefix}refs/heads/main", f"{stale}\n".encode(), ALWAYS)

    report = adopter.adopt(AGENT)

    assert report.recovered == {"refs/heads/main": 2}
    assert report.commits == 4


@pytest.mark.parametrize("name", ["recovered/1", "recovered"])
def test_a_branch_of_the_users_own_is_not_overwritten_by_a_recovered_one(
    name: str, store: LocalStore, adopter: Adopter
) -> None:
    legacy = legacy_repository(store, 3)
    kept = legacy.acknowledged[0]
    store.put(f"{legacy.prefix}refs/heads/main", f"{legacy.acknowledged[1]}\n".encode(), ALWAYS)
    store.put(f"{legacy.prefix}refs/heads/{name}", f"{kept}\n".encode(), ALWAYS)

    report = adopter.adopt(AGENT)

    assert (report.commits, report.recovered) == (3, {"refs/heads/recovered-1/1": 1})


def test_half_of_a_failed_upload_is_not_brought_back(store: LocalStore, adopter: Adopter) -> None:
    legacy = legacy_repository(store, 2)
    lost = legacy.commit({"lost": b"content"}, "never acknowledged")
    store.put(f"{legacy.prefix}refs/heads/main", f"{legacy.acknowledged[1]}\n".encode(), ALWAYS)
    tree = legacy.tree_of(lost)
    store.delete([f"{legacy.prefix}objects/{tree[:2]}/{tree[2:]}"])

    report = adopter.adopt(AGENT)

    assert (report.commits, report.recovered) == (2, {})


def break_an_object(legacy: LegacyRepository, store: LocalStore) -> None:
    key = next(item.key for item in store.list(f"{legacy.prefix}objects/"))
    store.put(key, b"garbage", ALWAYS)


def remove_an_object(legacy: LegacyRepository, store: LocalStore) -> None:
    store.delete([next(item.key for item in store.list(f"{legacy.prefix}objects/"))])


def remove_the_refs(legacy: LegacyRepository, store: LocalStore) -> None:
    store.delete([item.key for item in store.list(f"{legacy.prefix}refs/")])


@pytest.mark.parametrize("damage", [break_an_object, remove_an_object, remove_the_refs])
def test_a_repository_too_broken_is_reported_and_left_untouched(
    damage: Callable[[LegacyRepository, LocalStore], None], store: LocalStore, adopter: Adopter
) -> None:
    legacy = legacy_repository(store, 3)
    damage(legacy, store)
    before = {item.key: store.get(item.key).data for item in store.list("")}

    with pytest.raises(LegacyLayoutError) as report:
        adopter.adopt(AGENT)

    assert str(report.value)
    assert {item.key: store.get(item.key).data for item in store.list("")} == before


def test_nothing_of_its_configuration_is_run(store: LocalStore, adopter: Adopter, tmp_path: Path) -> None:
    legacy = legacy_repository(store, 2)
    trap = tmp_path / "trapped"
    config = (
        f"[core]\n\tfsmonitor = touch {trap}\n\thooksPath = {tmp_path}\n[alias]\n\tfsck = !touch {trap}\n"
    )
    store.put(f"{legacy.prefix}config", config.encode(), ALWAYS)
    store.put(f"{legacy.prefix}hooks/post-checkout", f"#!/bin/sh\ntouch {trap}\n".encode(), ALWAYS)
    store.put(f"{legacy.prefix}objects/info/alternates", b"/elsewhere\n", ALWAYS)

    assert adopter.adopt(AGENT).commits == 2
    assert not trap.exists()


def test_a_worker_that_meets_the_legacy_layout_says_so_and_touches_nothing(
    store: LocalStore, adopter: Adopter, tmp_path: Path
) -> None:
    legacy_repository(store, 1)
    with writer(store, tmp_path / "cache") as one:
        for request in (files(), create(), commit("x", create_repo_if_missing=True), delete()):
            (outcome,) = one.group(request)
            assert isinstance(outcome, RepoNotAdoptedError), outcome
        assert not list(store.list("acme/agent-1/repo.git/journal/"))

        adopter.adopt(AGENT)
        assert one.messages() == ["Initial commit"]


def test_all_agents_are_found_and_adopting_again_does_nothing(store: LocalStore, adopter: Adopter) -> None:
    agents = [Agent("acme", "a"), Agent("acme", "a-b"), Agent("acme", "ab"), Agent("beta", "a")]
    for agent in agents:
        legacy_repository(store, 1, agent=agent)

    assert sorted(adopter.agents()) == agents
    assert [adopter.adopt(agent).already for agent in agents] == [False] * 4
    assert [adopter.adopt(agent).already for agent in agents] == [True] * 4


def test_the_old_files_stay_until_told_otherwise(store: LocalStore, adopter: Adopter, tmp_path: Path) -> None:
    legacy = legacy_repository(store, 2)
    with pytest.raises(LegacyLayoutError):
        adopter.remove_old_files(AGENT)
    adopter.adopt(AGENT)
    assert store.get(f"{legacy.prefix}HEAD").data

    assert adopter.remove_old_files(AGENT) > 5

    assert not list(store.list(f"{legacy.prefix}objects/"))
    with writer(store, tmp_path / "cache") as one:
        assert one.messages() == ["Initial commit", "step 1"]


def test_what_the_old_server_commits_after_the_adoption_is_said_and_never_removed(
    store: LocalStore, adopter: Adopter
) -> None:
    legacy = legacy_repository(store, 2)
    adopter.adopt(AGENT)
    late = legacy.commit({"late.md": b"late\n"}, "after the adoption")
    before = {item.key for item in store.list(legacy.prefix)}

    for again in (adopter.adopt, adopter.remove_old_files):
        with pytest.raises(LegacyLayoutError, match=late):
            again(AGENT)

    assert {item.key for item in store.list(legacy.prefix)} == before


@pytest.mark.parametrize("gc_at", [(), (3,), (3, 5)])
def test_old_files_whose_commits_are_all_in_the_journal_are_removed(
    gc_at: Sequence[int], store: LocalStore, adopter: Adopter, tmp_path: Path
) -> None:
    """Also where the adoption has moved a stale branch on, and where the journal has grown since."""
    legacy = legacy_repository(store, 6, gc_at=gc_at)
    adopter.adopt(AGENT)
    with writer(store, tmp_path / "cache") as one:
        one.ask(commit("later"))

    assert adopter.adopt(AGENT).already
    assert adopter.remove_old_files(AGENT) > 5
    assert not list(store.list(f"{legacy.prefix}objects/"))


def test_a_repository_that_came_after_a_delete_is_adopted_on_top_of_it(
    store: LocalStore, adopter: Adopter, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(ours="x"))
        one.ask(delete())
        legacy = legacy_repository(store, 3)
        with pytest.raises(LegacyLayoutError, match="not adopted yet"):
            adopter.remove_old_files(AGENT)

        report = adopter.adopt(AGENT)

        assert (report.commits, report.already) == (3, False)
        assert one.messages() == ["Initial commit", "step 1", "step 2"]
        assert one.ask(commit("later")).parent_sha == legacy.acknowledged[-1]
    assert adopter.adopt(AGENT).already


def test_commits_that_say_to_be_memrepos_own_are_adopted_only_where_they_are_trusted(
    store: LocalStore, adopter: Adopter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.support.legacy_repository.NAME", COMMITTER_NAME)
    monkeypatch.setattr("tests.support.legacy_repository.EMAIL", COMMITTER_EMAIL)
    legacy = LegacyRepository(store, AGENT.org_id, AGENT.agent_id)
    legacy.create({"human.md": b"begin"})
    legacy.commit({"human.md": b"forged"}, "step\n\nRequest-Id: request-1\nAuthor-Type: user")

    with pytest.raises(LegacyLayoutError, match=r"1 commits that say that memrepo made them.*--trust-claims"):
        adopter.adopt(AGENT)

    assert adopter.adopt(AGENT, trust_claims=True).commits == 2
