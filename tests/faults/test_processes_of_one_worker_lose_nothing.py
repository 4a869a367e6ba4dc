"""``memrepo worker --processes 3``: nothing is lost when one, or the one above them, is killed or told to end."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from memrepo import CommitResult, Job, MemoryRepos, Settings
from tests.support.commands import running
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.warm import Running

PROCESSES = 3
AGENTS = 12
EACH = 12
WAIT_S = 120

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Supervised:
    """A running supervisor, and what it says."""

    process: Running
    said: Path

    @property
    def workers(self) -> list[psutil.Process]:
        """Those that serve now, by their numbers."""
        children = psutil.Process(self.process.pid).children()
        return sorted(
            (child for child in children if "--supervised" in child.cmdline()),
            key=lambda child: child.cmdline()[child.cmdline().index("--name") + 1],
        )

    def ready(self) -> int:
        """How often a process said that it is ready."""
        return self.said.read_text().count(" ready: ")

    def page(self) -> dict[tuple[str, str], float]:
        """Return the sums of the samples of the page of metrics, by name and process."""
        (port,) = re.findall(r"metrics of all processes at http://127\.0\.0\.1:(\d+)/", self.said.read_text())
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        sums: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, sample.labels.get("process", ""))
                sums[key] = sums.get(key, 0.0) + sample.value
        return sums


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey") as server:
        yield server


@contextmanager
def supervised(folder: Path, broker: Valkey) -> Iterator[Supervised]:
    """Run three processes that serve; at the end none is left, also where they were left to themselves."""
    folder.mkdir()
    env = {
        "MEMREPO_BROKER_URL": broker.url,
        "MEMREPO_STORE_URL": (folder.parent / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(folder.parent / "cache"),
        "MEMREPO_LEASE_S": "1",
        "MEMREPO_METRICS_PORT": "0",
    }
    with running("worker", "--processes", str(PROCESSES), folder=folder, env=env) as process:
        system = Supervised(process, folder / "stderr")
        wait_for(lambda: system.ready() >= PROCESSES, "all processes to be ready", timeout_s=60)
        workers = system.workers
        try:
            yield system
        finally:
            for worker in [*workers, *(system.workers if process.poll() is None else [])]:
                if worker.is_running():
                    worker.kill()


def client(broker: Valkey) -> MemoryRepos:
    return MemoryRepos(settings=Settings(broker.url, broker.url))


def commit_all(repos: MemoryRepos, turn: str) -> list[Job[CommitResult]]:
    """Have each agent commit in order; return the jobs."""
    return [
        repos.repo(org_id="acme", agent_id=f"agent-{agent}").commit(
            {"log": f"{turn} {number}\n"}, f"{turn} {number}"
        )
        for number in range(EACH)
        for agent in range(AGENTS)
    ]


def messages(repos: MemoryRepos, agent: int) -> list[str]:
    memory = repos.repo(org_id="acme", agent_id=f"agent-{agent}")
    history = memory.get_history(limit=10 * EACH).result(timeout_s=WAIT_S)
    return [commit.message.strip() for commit in reversed(history)]


def begin(repos: MemoryRepos) -> None:
    for agent in range(AGENTS):
        repos.repo(org_id="acme", agent_id=f"agent-{agent}").create_repo().result(timeout_s=WAIT_S)


def test_one_that_is_killed_is_replaced_and_a_signal_ends_all_in_order(
    tmp_path: Path, broker: Valkey
) -> None:
    with supervised(tmp_path / "run", broker) as system, client(broker) as repos:
        begin(repos)
        jobs = commit_all(repos, "first")
        victim = system.workers[1]
        victim.kill()
        for job in jobs:
            job.result(timeout_s=WAIT_S)
        wait_for(lambda: system.ready() > PROCESSES, "the killed one to be back", timeout_s=60)

        said = system.said.read_text()
        assert len(re.findall(r"metrics [a-z ]*at http", said)) == 1, (
            "one address, the one that is to be read"
        )
        assert len(system.workers) == PROCESSES
        assert victim.pid not in [worker.pid for worker in system.workers]
        page = wait_for(lambda: page_of_all(system), "the page to hold all three", timeout_s=30)
        served = [page.get(("memrepo_requests_total", str(number)), 0.0) for number in (1, 2, 3)]
        assert 0 < sum(served) <= AGENTS * (EACH + 1)  # what the killed one had counted is gone with it

        jobs = commit_all(repos, "second")
        workers = system.workers
        for worker in workers:
            worker.terminate()  # as of all processes of a service: each gets it from the one above it, too
        system.process.terminate()
        assert system.process.wait(timeout=60) == 0
        assert [worker for worker in workers if worker.is_running()] == []

    with supervised(tmp_path / "again", broker), client(broker) as repos:
        for agent in range(AGENTS):
            expected = [f"{turn} {number}" for turn in ("first", "second") for number in range(EACH)]
            assert messages(repos, agent)[-len(expected) :] == expected


def page_of_all(system: Supervised) -> dict[tuple[str, str], float] | None:
    page = system.page()
    return page if page["memrepo_processes_up", ""] == page["memrepo_processes", ""] == PROCESSES else None


def test_when_the_one_above_them_is_killed_they_end_in_order(tmp_path: Path, broker: Valkey) -> None:
    with supervised(tmp_path / "run", broker) as system, client(broker) as repos:
        begin(repos)
        workers = system.workers
        commit_all(repos, "only")
        system.process.kill()
        psutil.wait_procs(workers, timeout=60)
        assert [worker for worker in workers if worker.is_running()] == []

    with supervised(tmp_path / "again", broker), client(broker) as repos:
        for agent in range(AGENTS):
            assert messages(repos, agent)[-EACH:] == [f"only {number}" for number in range(EACH)]


def test_each_of_them_tells_of_a_broker_that_is_silent(tmp_path: Path, broker: Valkey) -> None:
    with supervised(tmp_path / "run", broker) as system:

        def told() -> dict[tuple[str, str], float] | None:
            page = system.page()
            up = [page.get(("memrepo_broker_up", str(number))) for number in range(1, PROCESSES + 1)]
            return page if up == [0] * PROCESSES else None

        broker.freeze()
        try:
            page = wait_for(told, "all three to say that the broker is away", timeout_s=60)
        finally:
            broker.thaw()

    assert page["memrepo_processes_up", ""] == PROCESSES
