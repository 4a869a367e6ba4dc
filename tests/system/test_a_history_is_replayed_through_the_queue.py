from __future__ import annotations

import re
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from memrepo import MemoryRepos, RepoNotFoundError
from memrepo.limits import Limits
from memrepo_worker.replay.plan import Plan
from memrepo_worker.replay.source import SourceRepository
from memrepo_worker.replay.verify import Verifier
from tests.support.commands import running
from tests.support.replaying import replay, report
from tests.support.seeded_repository import LEFT_OUT, write_seeded_repository
from tests.support.stock_git import empty_repository, git, restore, stock_git
from tests.support.suspended import suspended
from tests.support.systems import System
from tests.support.waiting import wait_for

COMMITS = 500
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that memrepo keeps whole."""
    return write_seeded_repository(
        tmp_path_factory.mktemp("seeded") / "plain.git", stock_git(), commits=COMMITS
    )


@pytest.fixture(scope="module")
def motley(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with links, submodules and names that memrepo leaves out."""
    folder = tmp_path_factory.mktemp("seeded") / "motley.git"
    return write_seeded_repository(folder, stock_git(), commits=60, seed=2, left_out=True)


@pytest.fixture
def agent() -> str:
    return f"replayed-{next(_NUMBERS)}"


def trees(repository: Path) -> list[str]:
    """Return the tree of every commit on the first-parent history, oldest first, as stock git says."""
    return git(repository, "log", "--first-parent", "--reverse", "--format=%T", "HEAD").decode().split()


def runs(values: list[str]) -> list[str]:
    """Return the values without immediate repetitions: a commit that changes nothing makes no commit."""
    return [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]


def test_every_tree_is_the_originals_to_the_bit(
    system: System, seeded: Path, agent: str, tmp_path: Path
) -> None:
    found = report(replay(system, tmp_path, str(seeded), "--agent", agent, "--json"))

    assert found["commits"] == found["same_tree"] == COMMITS
    assert found["left_out"] == {}
    assert found["equal"]


def test_stock_git_finds_the_same_trees_in_the_store(
    system: System, seeded: Path, agent: str, tmp_path: Path
) -> None:
    report(replay(system, tmp_path, str(seeded), "--agent", agent, "--limit", "120", "--json"))

    assert system.store_folder is not None
    restored = restore(system.store_folder / "replay" / agent / "repo.git", tmp_path / "restored.git")
    git(restored, "fsck", "--strict")
    assert trees(restored) == runs(trees(seeded)[:120])


def test_what_memrepo_does_not_keep_is_left_out_and_counted(
    system: System, motley: Path, agent: str, tmp_path: Path
) -> None:
    found = report(replay(system, tmp_path, str(motley), "--agent", agent, "--json"))

    assert found["equal"]
    assert 0 < found["same_tree"] < found["same_tree"] + found["same_files"] == 60
    assert found["left_out"]["is a symbolic link"] == 2
    assert found["left_out"]["is a submodule"] == 1
    assert sum(found["left_out"].values()) > len(LEFT_OUT)


def test_the_report_is_readable(system: System, motley: Path, agent: str, tmp_path: Path) -> None:
    ended = replay(system, tmp_path, str(motley), "--agent", agent)

    assert "60 commits in" in ended.stdout
    assert "commits/s" in ended.stdout
    assert "2x is a symbolic link" in ended.stdout


def test_a_commit_over_the_limits_is_split_and_ends_in_the_same_tree(
    system: System, seeded: Path, agent: str, tmp_path: Path
) -> None:
    small = {"MEMREPO_CHANGES_MAX": "2"}
    found = report(
        replay(system, tmp_path, str(seeded), "--agent", agent, "--limit", "40", "--json", env=small)
    )

    assert found["requests"] > found["commits"] == found["same_tree"] == 40


def test_a_file_over_the_limits_is_left_out(system: System, seeded: Path, agent: str, tmp_path: Path) -> None:
    small = {"MEMREPO_FILE_BYTES_MAX": "1000"}
    found = report(
        replay(system, tmp_path, str(seeded), "--agent", agent, "--limit", "40", "--json", env=small)
    )

    assert found["equal"]
    assert found["left_out"]["is over file_bytes_max (1000 bytes)"] > 0


def test_an_agent_with_a_memory_is_not_replayed_into(
    system: System, memories: MemoryRepos, seeded: Path, agent: str, tmp_path: Path
) -> None:
    repo = memories.repo(org_id="replay", agent_id=agent)
    sha = repo.create_repo({"human.md": "mine\n"}).result(timeout_s=20).sha

    ended = replay(system, tmp_path, str(seeded), "--agent", agent)

    assert ended.code == 4
    assert ended.stderr == f"Error: replay/{agent} has a memory already; name another with --agent\n"
    assert repo.get_head_sha().result(timeout_s=20) == sha


def test_a_folder_that_is_no_repository_is_one_line(system: System, agent: str, tmp_path: Path) -> None:
    ended = replay(system, tmp_path, str(tmp_path), "--agent", agent)

    assert ended.code == 1
    assert ended.stderr == f"Error: {tmp_path} is not a git repository, nor inside one\n"


def test_a_repository_without_a_commit_is_one_line(system: System, agent: str, tmp_path: Path) -> None:
    ended = replay(system, tmp_path, str(empty_repository(tmp_path / "empty.git")), "--agent", agent)

    assert ended.code == 1
    assert ended.stderr == f"Error: {tmp_path}/empty.git has no commit to replay: its HEAD names none\n"


def test_a_difference_is_noticed(
    system: System, memories: MemoryRepos, seeded: Path, agent: str, tmp_path: Path
) -> None:
    report(replay(system, tmp_path, str(seeded), "--agent", agent, "--limit", "3", "--json"))
    repo = memories.repo(org_id="replay", agent_id=agent)
    shas = [commit.sha for commit in repo.get_history().result(timeout_s=20)][::-1]
    tampered = repo.commit({"human.md": "changed\n"}, "Tamper").result(timeout_s=20).sha
    source = SourceRepository.open(seeded, stock_git())
    history = source.history(3)

    def verdicts(found: list[str]) -> list[str]:
        return list(Verifier(repo, Plan(Limits(), source.size), source).verify(history, found))

    assert verdicts(shas) == ["same tree"] * 3
    assert verdicts([shas[0], tampered, shas[2]]) == ["same tree", "different", "same tree"]


def test_ctrl_c_says_what_is_there_now(
    system: System, memories: MemoryRepos, seeded: Path, agent: str, tmp_path: Path
) -> None:
    env = {"MEMREPO_BROKER_URL": system.broker_url}
    memory = memories.repo(org_id="replay", agent_id=agent)

    def begun() -> bool:
        with suppress(RepoNotFoundError):
            return bool(memory.get_head_sha().result(timeout_s=20))
        return False

    with running("replay", str(seeded), "--agent", agent, folder=tmp_path, env=env) as process:
        wait_for(begun, "the first commit")
        with suspended(system.worker_pid):
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
    told = (tmp_path / "stderr").read_text()

    assert code == 130
    assert re.search(rf"Interrupted after \d+ of {COMMITS} commits: what was sent stays", told)
    assert f"memrepo delete replay {agent}" in told
