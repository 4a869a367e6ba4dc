"""Tests start most of memrepo's processes warm (see ``tests.support.warm``): they are what a user's own would be."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from memrepo.settings import environment
from tests.support import warm
from tests.support.commands import Ended, memrepo, running
from tests.support.ports import LOOPBACK, closed_port
from tests.support.waiting import wait_for
from tests.support.warm_program import LENGTH

AWAY = {"MEMREPO_BROKER_URL": f"redis://{LOOPBACK}:{closed_port()}/0", "MEMREPO_ENQUEUE_TIMEOUT_S": "0.2"}


def run_cold(*arguments: str, folder: Path) -> Ended:
    warm.allow(False)
    try:
        return memrepo(*arguments, folder=folder, env=AWAY)
    finally:
        warm.allow(True)


@pytest.mark.parametrize(
    "command", ["--version", "config", "shards", "commit acme", "nonsense", "worker --help"]
)
def test_it_says_and_ends_with_the_same(command: str, tmp_path: Path) -> None:
    ended = memrepo(*command.split(), folder=tmp_path, env=AWAY)

    assert ended == run_cold(*command.split(), folder=tmp_path)
    assert ended.stdout + ended.stderr


def test_it_has_the_environment_and_the_folder_that_it_was_given(tmp_path: Path) -> None:
    worker = {"MEMREPO_STORE_URL": (tmp_path / "store").as_uri(), "MEMREPO_CACHE_DIR": "cache"}
    with running(
        "worker", folder=tmp_path, env={**AWAY, **worker, "MEMREPO_CONNECT_TIMEOUT_S": "20"}
    ) as process:
        there = psutil.Process(process.pid)

        assert there.parent() != psutil.Process()  # so it began warm
        assert there.cwd() == str(tmp_path)
        # What it has opened itself it closes again; what it was left with, it has for good.
        wait_for(lambda: {one.fd for one in there.open_files()} <= {1, 2}, "it to have no other file open")


@pytest.mark.parametrize("told", [b"", LENGTH.pack(100), LENGTH.pack(100) + b"{"])
def test_one_that_ends_while_it_asks_for_a_process_keeps_no_other_from_one(
    told: bytes, tmp_path: Path
) -> None:
    assert memrepo("--version", folder=tmp_path, env=AWAY).code == 0
    with socket.socket(socket.AF_UNIX) as asking, (tmp_path / "out").open("wb") as out:
        asking.connect(str(warm._programs[0].socket))
        if told:
            socket.send_fds(asking, [told], [out.fileno()])

    assert memrepo("--version", folder=tmp_path, env=AWAY).code == 0


def test_it_can_be_waited_for_and_is_told_signals(tmp_path: Path) -> None:
    env = {"PATH": environment()["PATH"], **AWAY, "MEMREPO_ENQUEUE_TIMEOUT_S": "60"}
    with running("append", "acme", "a", "log.md", "x", folder=tmp_path, env=env) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "it to stop")
        process.kill()

        assert process.wait(20) == -signal.SIGKILL
        assert process.poll() == -signal.SIGKILL
        process.terminate()  # nobody is there
