"""The example that users copy, with its broker stopped for ten seconds in the middle of its run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo import MemoryCommit, MemoryRepoError, MemoryRepos
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from tests.support.systems import running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
AGENTS, TURNS, PAUSE_S = 20, 20, 0.4
STOPPED_S = 10.0


def start(broker: Valkey, output: Path) -> Process:
    with output.open("wb") as file:
        return Processes(Counters()).start(
            [
                *(
                    sys.executable,
                    "-m",
                    "tests.support.guarded_loop",
                    str(ROOT / "examples" / "agent_loop.py"),
                ),
                *(str(AGENTS), str(TURNS), str(PAUSE_S)),
            ],
            env={
                "PATH": environment()["PATH"],
                "PYTHONPATH": str(ROOT),
                "MEMREPO_BROKER_URL": broker.url,
            },
            stdout=file,
            stderr=file,
        )


def made(repos: MemoryRepos, number: int) -> list[MemoryCommit]:
    """An agent's commits, oldest first."""
    history = repos.repo(org_id="acme", agent_id=f"agent-{number}").get_history(limit=1000)
    try:
        return list(reversed(history.result(timeout_s=10)))
    except MemoryRepoError:
        return []


def assert_one_whole_life(commits: list[MemoryCommit]) -> None:
    """Every turn is there, once and in order, and then the look back."""
    messages = [commit.message.strip() for commit in commits]
    life = messages[0].rpartition(" ")[2]
    assert messages == [*(f"Turn {turn} of life {life}" for turn in range(TURNS)), "Look back"]
    assert len({commit.request_id for commit in commits}) == TURNS + 1


@pytest.mark.parametrize(
    ("away", "back"),
    [
        pytest.param(Valkey.kill, Valkey.start, id="killed"),
        pytest.param(Valkey.stop, Valkey.start, id="stopped", marks=pytest.mark.long),
        pytest.param(Valkey.freeze, Valkey.thaw, id="frozen", marks=pytest.mark.long),
    ],
)
def test_no_commit_is_lost_or_doubled_and_no_call_passes_its_timeout(
    tmp_path: Path, away: Callable[[Valkey], None], back: Callable[[Valkey], None]
) -> None:
    """A call past its timeout ends the example with an error; and as nothing blocks its loop, no timeout is late."""
    with (
        valkey(tmp_path / "valkey", fsync="always") as broker,
        running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}"),
    ):
        example = start(broker, tmp_path / "said")
        try:
            with MemoryRepos(broker_url=broker.url) as repos:
                wait_for(lambda: len(made(repos, 0)) >= 3, "the agents to be at work")
            away(broker)
            threading.Event().wait(STOPPED_S)
            assert example.poll() is None, (tmp_path / "said").read_text()
            back(broker)

            assert example.wait(90) == 0, (tmp_path / "said").read_text()
        finally:
            example.kill()
            example.wait()
        with MemoryRepos(broker_url=broker.url) as repos:
            for number in range(AGENTS):
                assert_one_whole_life(made(repos, number))
    assert f"{AGENTS} agents made {AGENTS * (TURNS + 1)} commits" in (tmp_path / "said").read_text()
