"""What git may not take in within its bounds is read in smaller parts, or waits: alone, and the setting is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from memrepo.errors import TooLargeError
from memrepo_worker.git.command import Git, GitOverBoundsError, GitTooSlowError
from memrepo_worker.group import Agent
from memrepo_worker.processes import HOLDS_BOUNDS
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.folding import fold, folder, small_runs
from tests.support.git_in_trouble import git_in_trouble
from tests.support.writers import AGENT, Writer, commit, create, files, history, writer

OTHERS = [Agent("acme", f"other-{number}") for number in range(4)]
PACK_BYTES_MAX = 2500
"""More than each entry's pack has, and less than what is joined."""

Kind = type[GitOverBoundsError] | type[GitTooSlowError]


@pytest.fixture
def expected(store: LocalStore, tmp_path: Path) -> list[str]:
    """A memory of 31 entries and its messages, beside others."""
    with writer(store, tmp_path / "one") as one:
        one.ask(create(a="1"))
        for number in range(30):
            one.ask(commit(f"step {number}"))
        expected = one.messages()
        for one.agent in OTHERS:
            one.ask(create().model_copy(update={"agent_id": one.agent.agent_id}))
        return expected


def limit_packs(monkeypatch: pytest.MonkeyPatch, kind: Kind, bytes_max: int = PACK_BYTES_MAX) -> None:
    """Have git refuse to take in packs that are larger."""
    index_pack: Callable[[Git, Path, bytes], str] = Git.index_pack

    def limited(git: Git, repo: Path, pack: bytes) -> str:
        if len(pack) > bytes_max:
            raise kind("it is over a bound")
        return index_pack(git, repo, pack)

    monkeypatch.setattr(Git, "index_pack", limited)


def read(worker: Writer, agent: Agent) -> None:
    worker.agent = agent
    worker.ask(files().model_copy(update={"agent_id": agent.agent_id}))


@pytest.mark.parametrize("kind", [GitOverBoundsError, GitTooSlowError])
def test_entries_are_read_where_git_cannot_take_in_what_stands_for_them(
    expected: list[str], kind: Kind, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_runs():
        assert fold(store, tmp_path / "scratch").folded == 28
        limit_packs(monkeypatch, kind)
        with writer(store, tmp_path / "two", cold_open_bytes_max=1) as two:
            assert two.messages() == expected
            counted = two.counters.snapshot()

    assert counted["journal.accelerator_passed_over"] == 1
    assert "cache.failed" not in counted
    assert "machine.trouble" not in counted


def test_entries_that_git_cannot_take_in_together_are_taken_in_apart(
    expected: list[str], store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_packs(monkeypatch, GitOverBoundsError)
    with writer(store, tmp_path / "two") as two:
        assert two.messages() == expected
        assert two.counters.snapshot()["repo.opened_cold"] == 1


@pytest.mark.skipif(not HOLDS_BOUNDS, reason="nobody says here what a process has used")
def test_what_git_may_use_of_a_processor_is_one_bound_of_all_that_is_tried(
    expected: list[str], store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is within it: of all together, of less and less, and of the entries behind what stands for them."""
    with small_runs():
        fold(store, tmp_path / "scratch")
    git = git_in_trouble(tmp_path, monkeypatch)
    with writer(store, tmp_path / "two", foreign_cpu_s_max=1) as two:
        git.work_in_vain(cpu_s=0.4)
        with pytest.raises(UnavailableError, match="MEMREPO_FOREIGN_CPU_S_MAX"):
            two.ask(files())
        tried = two.counters.snapshot()["process.started"]
        git.mend()
        assert two.messages() == expected

    assert 2 <= tried <= 4


def test_an_agent_that_git_cannot_take_in_at_all_waits_alone_and_hears_of_the_setting(
    expected: list[str], store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, tmp_path / "two") as two:
        *warm, cold = OTHERS
        for agent in warm:
            read(two, agent)
        with monkeypatch.context() as patch:
            limit_packs(patch, GitOverBoundsError, bytes_max=1)
            two.agent = AGENT
            for _ in range(3):
                with pytest.raises(UnavailableError, match="MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX"):
                    two.ask(files())
        assert len(two.service.cache) == len(warm), "what the others have warm stays"
        for _ in range(3):
            read(two, cold)
        counted = two.counters.snapshot()
        two.agent = AGENT
        assert two.messages() == expected, "served once the setting allows for it"

    assert counted["repo.over_bounds"] == 3
    assert counted["repo.opened_cold"] == len(OTHERS) + 3
    assert not {"cache.failed", "cache.passed_by", "machine.trouble"} & counted.keys()


def test_a_history_that_git_may_not_look_through_is_refused_and_the_copy_stays(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise GitOverBoundsError("it is over a bound")

    one.ask(create(a="1"))
    monkeypatch.setattr(Git, "commits_touching", refuse)
    with pytest.raises(TooLargeError, match="MEMREPO_FOREIGN_CPU_S_MAX"):
        one.ask(history().model_copy(update={"path": "a"}))

    assert one.messages() == ["Initial commit"]
    assert "repo.healed" not in one.counters.snapshot()


@pytest.mark.parametrize("kind", [GitOverBoundsError, GitTooSlowError])
def test_what_no_worker_could_open_is_not_published_by_a_fold(
    expected: list[str], kind: Kind, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_ = folder(store, tmp_path / "scratch")
    index_pack: Callable[[Git, Path, IO[bytes]], None] = Git.index_whole_pack

    def limited(git: Git, repo: Path, pack: IO[bytes]) -> None:
        if os.fstat(pack.fileno()).st_size > PACK_BYTES_MAX and git.bounds is not None:
            raise kind("it is over a bound")
        index_pack(git, repo, pack)

    with small_runs():
        monkeypatch.setattr(Git, "index_whole_pack", limited)
        with pytest.raises(GitOverBoundsError, match="no worker could open the entries up to 16 joined"):
            folder_.fold(AGENT)
        monkeypatch.undo()
        assert [item for item in store.list("acme/agent-1/repo.git/") if "/journal/" not in item.key] == []
        assert folder_.fold(AGENT).folded == 28
