"""The Procfile under honcho: what is under way when it is told to end is ended, and it starts again with its cache."""

from __future__ import annotations

import re
import sysconfig
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil
import pytest

from memrepo import CommitResult, Job, MemoryRepo, MemoryRepos
from memrepo.limits import MIB
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Process, Processes
from tests.support.commands import runs_now
from tests.support.ports import answers, free_ports
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(300)  # it starts and ends all twice

PROCFILE = Path(__file__).resolve().parents[2] / "Procfile"


@dataclass(frozen=True)
class Started:
    """A honcho that runs the Procfile."""

    process: Process
    log: Path
    flower_port: int
    metrics_port: int

    @property
    def parts(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def counted(self, sample: str) -> float:
        """Return a number of the worker's page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        (found,) = re.findall(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found)

    def end(self) -> None:
        """Tell it to end, and wait until it and all that it started have."""
        parts = self.parts
        self.process.terminate()
        self.process.wait(60)
        wait_for(lambda: not [part for part in parts if runs_now(part)], "all its processes to end")


@contextmanager
def honcho(folder: Path, broker: Valkey, name: str) -> Iterator[Started]:
    scripts, (flower_port, metrics_port) = sysconfig.get_path("scripts"), free_ports(2)
    log = folder / name
    env = {
        "PATH": f"{scripts}:{environment()['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "MEMREPO_BROKER_URL": broker.url,
        "MEMREPO_STORE_URL": (folder / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(folder / "cache"),
        "MEMREPO_METRICS_PORT": str(metrics_port),
        "MEMREPO_FLOWER_BASIC_AUTH": "watcher:secret",
        "MEMREPO_FLOWER_PORT": str(flower_port),
    }
    with log.open("wb") as output:
        process = Processes(Counters()).start(
            [f"{scripts}/honcho", "-f", str(PROCFILE), "-d", str(folder), "start"],
            env=env,
            stdout=output,
            stderr=output,
            cwd=folder,
        )
    started = Started(process, log, flower_port, metrics_port)
    try:
        yield started
    finally:
        if process.poll() is None:
            for part in started.parts:
                part.kill()
            process.kill()
            process.wait()


def one_under_way(memory: MemoryRepo) -> Job[CommitResult]:
    """Return a commit that a worker has begun and not ended: large ones are sent until one is seen so."""
    for number in count():
        job = memory.commit({"large.txt": f"{number}\n" * (2 * MIB)}, "Learn much")
        while not job.done():
            if job.status() == "running":
                return job
    raise AssertionError


def test_what_is_under_way_is_ended_and_the_next_start_finds_its_memory_warm(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as broker, MemoryRepos(broker_url=broker.url) as repos:
        memory = repos.repo(org_id="acme", agent_id="agent-42")
        with honcho(tmp_path, broker, "first") as first:
            assert memory.create_repo({"human.md": "likes tea\n"}).result(timeout_s=60).created
            wait_for(lambda: answers(first.flower_port), "Flower to listen", timeout_s=60)
            job = one_under_way(memory)
            first.end()
            assert job.result(timeout_s=10).created
        assert broker.client().ping()
        assert "worker.1 stopped (rc=0)" in first.log.read_text()

        with honcho(tmp_path, broker, "second") as second:
            assert memory.get_head_sha().result(timeout_s=60) == job.result(timeout_s=1).sha
            assert second.counted('memrepo_cache_total{event="found_on_disk"}') == 1
            assert second.counted("memrepo_cold_opens_total") == 0
            second.end()
