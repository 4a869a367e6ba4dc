"""``memrepo doctor --quick`` and ``--ready``: what a platform asks every few seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memrepo_worker.liveness import STALE_S, LivenessFile, workers_seen
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER
from tests.support.commands import Ended, memrepo
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, fleet


@dataclass
class Machine:
    """A worker with a broker of its own, and what probes it."""

    broker: Valkey
    worker: WorkerProcess
    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def doctor(self, *arguments: str) -> Ended:
        env = {"MEMREPO_BROKER_URL": self.broker.url, "MEMREPO_CACHE_DIR": str(self.cache)}
        return memrepo("doctor", *arguments, folder=self.folder, env=env)


@pytest.fixture
def machine(settings: WorkerSettings, tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "broker").mkdir()
    with valkey(tmp_path / "broker") as server:
        values = replace(
            settings, broker_url=server.url, result_url=server.url, cache_dir=tmp_path / "cache", lease_s=2
        )
        with fleet(tmp_path / "logs", values, HANDLER, server.database(1)) as workers:
            machine = Machine(server, workers.start("w1"), tmp_path)
            wait_for(lambda: machine.doctor("--ready").code == 0, "the worker to be ready")
            yield machine


def test_a_worker_that_serves_is_alive_and_ready(machine: Machine) -> None:
    quick = machine.doctor("--quick")
    ready = machine.doctor("--ready", "--json")

    assert (quick.code, ready.code) == (0, 0)
    assert quick.stdout.startswith("ok    alive    w1@")
    assert [(each["check"], each["ok"]) for each in json.loads(ready.stdout)] == [
        ("alive", True),
        ("ready", True),
    ]


def test_through_an_outage_of_the_broker_it_is_alive_and_not_ready(machine: Machine) -> None:
    machine.broker.kill()
    wait_for(lambda: "is away" in machine.worker.output, "the worker to miss its broker")

    assert machine.doctor("--quick").code == 0
    ready = machine.doctor("--ready")
    assert ready.code == 5
    assert "cannot be reached" in ready.stdout


def test_a_worker_is_ready_while_the_broker_of_another_cell_is_away(machine: Machine) -> None:
    """Which cell a worker serves may be said by its command line alone, of which a probe knows nothing."""
    env = {
        "MEMREPO_CELLS": f"a=redis://{LOOPBACK}:{closed_port()}/0 b={machine.broker.url}",
        "MEMREPO_CACHE_DIR": str(machine.cache),
    }
    ready = memrepo("doctor", "--ready", folder=machine.folder, env=env)

    assert ready.code == 0, ready.stdout
    assert "knows w1@" in ready.stdout
    machine.broker.kill()
    assert memrepo("doctor", "--ready", folder=machine.folder, env=env).code == 5


def test_a_worker_that_hangs_is_not_alive(machine: Machine) -> None:
    machine.worker.pause()
    try:
        (file,) = (machine.cache / "alive").iterdir()
        hours_ago_s = file.stat().st_mtime - 2 * STALE_S
        os.utime(file, (hours_ago_s, hours_ago_s))
        ended = machine.doctor("--quick")
    finally:
        machine.worker.resume()

    assert ended.code == 1
    assert "no heartbeat of w1@" in ended.stdout
    wait_for(lambda: machine.doctor("--quick").code == 0, "its heartbeat to go on")


def test_where_no_worker_runs_none_is_alive(machine: Machine) -> None:
    machine.worker.kill()

    for flag in ("--quick", "--ready"):
        ended = machine.doctor(flag)
        assert ended.code == 1
        assert "no worker runs with the cache folder" in ended.stdout


def test_the_two_are_not_asked_at_once(tmp_path: Path) -> None:
    assert memrepo("doctor", "--quick", "--ready", folder=tmp_path).code == 2


def test_files_of_ended_workers_are_removed_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    file = LivenessFile(tmp_path, "w1@host/1", "host")
    file.touch()
    (tmp_path / "alive" / "w0@host%2F0").write_text("host\nw0@host/0")

    (path,) = [path for path in (tmp_path / "alive").iterdir() if path.name.startswith("w1")]
    (seen,) = workers_seen(tmp_path, "host", path.stat().st_mtime)
    assert (seen.name, seen.age_s, seen.lives) == ("w1@host/1", 0.0, True)
    assert list((tmp_path / "alive").iterdir()) == [path]

    file.remove()
    assert not list(workers_seen(tmp_path, "host", 0.0))


def test_a_start_removes_what_killed_workers_left(tmp_path: Path) -> None:
    (tmp_path / "alive").mkdir()
    (tmp_path / "alive" / "w0@host%2F0").write_text("host\nw0@host/0")
    file = LivenessFile(tmp_path, "w1@host/1", "host")
    file.touch()

    assert [path.name for path in (tmp_path / "alive").iterdir()] == ["w1@host%2F1"]
    file.remove()


def test_containers_that_share_a_folder_answer_for_their_own_workers(tmp_path: Path) -> None:
    """In each, the worker may be process 1."""
    here, there = LivenessFile(tmp_path, "w@a/1", "a"), LivenessFile(tmp_path, "w@b/2", "b")
    here.touch()
    there.touch()

    assert [seen.name for seen in workers_seen(tmp_path, "a", 0.0)] == ["w@a/1"]
    assert [seen.name for seen in workers_seen(tmp_path, "b", 0.0)] == ["w@b/2"]
    here.remove()
    assert not list(workers_seen(tmp_path, "a", 0.0))
    assert [seen.name for seen in workers_seen(tmp_path, "b", 0.0)] == ["w@b/2"]
    there.remove()


def test_a_file_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    file = LivenessFile(tmp_path, "w1@host/1", "host")
    file.touch()
    (tmp_path / "alive" / "w1@host%2F1").unlink()
    file.touch()

    assert [seen.name for seen in workers_seen(tmp_path, "host", 0.0)] == ["w1@host/1"]
    file.remove()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "alive").write_text("in the way")
    LivenessFile(tmp_path, "w1@host/1", "host").touch()
    assert not list(workers_seen(tmp_path, "host", 0.0))
