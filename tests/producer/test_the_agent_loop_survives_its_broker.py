"""The example that users copy, with its broker stopped for ten seconds in the middle of its run."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from memrepo import MemoryRepoError, MemoryRepos
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from tests.support.systems import running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "agent_loop.py"
AGENTS, TURNS, PAUSE_S = 20, 20, 0.4
STOPPED_S = 10.0


def start(broker: Valkey, output: Path) -> Process:
    with output.open("wb") as file:
        return Processes(Counters()).start(
            [sys.executable, str(EXAMPLE), str(AGENTS), str(TURNS), str(PAUSE_S)],
            env={"PATH": environment()["PATH"], "MEMREPO_BROKER_URL": broker.url},
            stdout=file,
            stderr=file,
        )


def made(repos: MemoryRepos, number: int) -> list[str | None]:
    """The request ids of an agent's commits, oldest first."""
    history = repos.repo(org_id="acme", agent_id=f"agent-{number}").get_history(limit=1000)
    try:
        return [commit.request_id for commit in reversed(history.result(timeout_s=10))]
    except MemoryRepoError:
        return []


@pytest.mark.parametrize(
    "crash", [pytest.param(True, id="killed"), pytest.param(False, id="stopped", marks=pytest.mark.long)]
)
def test_no_commit_is_lost_or_doubled_and_no_call_passes_its_timeout(tmp_path: Path, crash: bool) -> None:
    """A call past its timeout, or a commit that is not there once and in order, ends the example with an error."""
    with (
        valkey(tmp_path / "valkey", fsync="always") as broker,
        running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}"),
    ):
        example = start(broker, tmp_path / "said")
        try:
            with MemoryRepos(broker_url=broker.url) as repos:
                wait_for(lambda: len(made(repos, 0)) >= 3, "the agents to be at work")
            broker.kill() if crash else broker.stop()
            threading.Event().wait(STOPPED_S)
            assert example.poll() is None, (tmp_path / "said").read_text()
            broker.start()

            assert example.wait(90) == 0, (tmp_path / "said").read_text()
        finally:
            example.kill()
            example.wait()
        with MemoryRepos(broker_url=broker.url) as repos:
            for number in range(AGENTS):
                ids = made(repos, number)
                assert len(ids) == len(set(ids)) == TURNS + 1
    assert f"{AGENTS} agents made {AGENTS * (TURNS + 1)} commits" in (tmp_path / "said").read_text()
