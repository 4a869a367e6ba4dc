"""``celery -A memrepo_worker …``: what helps works, what would do harm is one line that says what to run instead."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.commands import Ended
from tests.support.systems import System

CELERY = str(Path(sysconfig.get_path("scripts")) / "celery")


def celery(folder: Path, *arguments: str, **env: str) -> Ended:
    """Run a command of Celery's to its end."""
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = Processes(Counters()).start(
            [CELERY, "-A", "memrepo_worker", *arguments],
            env={"PATH": environment()["PATH"], **env},
            cwd=folder,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            code = process.wait(60)
        finally:
            process.kill()
            process.wait()
    return Ended(code, out.read_text(), err.read_text())


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("worker",), "Run: memrepo worker"),
        (("worker", "--detach"), "Run: memrepo worker"),
        (("multi", "start", "w1"), "Run: memrepo worker"),
        (("beat",), "nothing to schedule"),
        (("purge",), "run: memrepo job ID --cancel"),
        (("purge", "-f", "-Q", "memrepo.000"), "run: memrepo job ID --cancel"),
    ],
)
def test_a_command_that_cannot_serve_is_refused_in_one_line(
    tmp_path: Path, command: tuple[str, ...], said: str
) -> None:
    ended = celery(tmp_path, *command)

    assert ended.code == 1
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("stdout", "stderr")] == []


def test_a_setting_that_makes_no_sense_is_one_line_too(tmp_path: Path) -> None:
    ended = celery(tmp_path, "status", MEMREPO_LEASE_S="0")

    assert (ended.code, ended.stderr) == (1, "Error: MEMREPO_LEASE_S: must be between 0.1 and 3600\n")


@pytest.mark.parametrize("command", [("status",), ("inspect", "ping"), ("inspect", "memrepo_counters")])
def test_what_asks_running_workers_is_answered(
    tmp_path: Path, system: System, command: tuple[str, ...]
) -> None:
    ended = celery(tmp_path, *command, MEMREPO_BROKER_URL=system.broker_url)

    assert ended.code == 0, ended.stderr
    assert "1 node online" in ended.stdout
