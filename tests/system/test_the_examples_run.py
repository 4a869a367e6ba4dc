"""The programs of examples/ do what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes, ProcessFailedError
from tests.support.commands import up
from tests.support.documents import ROOT


def run_python(*arguments: str, env: dict[str, str]) -> str:
    whole = {"PATH": environment()["PATH"], **env}
    return Processes(Counters()).run([sys.executable, *arguments], env=whole, timeout_s=100).decode()


def test_a_hundred_agents_share_one_event_loop_that_nothing_blocks(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        for _ in range(2):  # the second time they have memories already
            said = run_python(
                "-m",
                "tests.support.guarded_loop",
                str(ROOT / "examples" / "agent_loop.py"),
                env={"MEMREPO_BROKER_URL": running.broker_url, "PYTHONPATH": str(ROOT)},
            )
            assert said.startswith("100 agents made 1100 commits")


def test_the_guard_ends_a_program_that_blocks_its_event_loop(tmp_path: Path) -> None:
    program = tmp_path / "blocks.py"
    program.write_text(
        "import asyncio, time\n\nasync def main():\n    time.sleep(0.01)\n\nasyncio.run(main())\n"
    )

    with pytest.raises(ProcessFailedError, match="BlockingError"):
        run_python("-m", "tests.support.guarded_loop", str(program), env={"PYTHONPATH": str(ROOT)})
