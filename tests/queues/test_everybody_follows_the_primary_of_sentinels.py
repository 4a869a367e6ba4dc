"""Sentinels say which server is the primary: everybody asks them, for each connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, MemoryRepos, Settings
from memrepo.settings import environment
from memrepo_worker.app import build_app
from memrepo_worker.group import Agent
from memrepo_worker.settings import WorkerSettings
from tests.support.commands import memrepo
from tests.support.file_service import FileService
from tests.support.sentinel import Watched, watched
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, file_fleet

SHARDS, AGENTS = 4, 6
TIMEOUT_S = 40.0
"""Far more than a failover takes."""


@dataclass
class System:
    """Servers with Sentinels, and a worker that serves files in ``folder``."""

    servers: Watched
    worker: WorkerProcess
    service: FileService

    @property
    def settings(self) -> Settings:
        url = self.servers.url
        return Settings(url, url, shards=SHARDS, enqueue_timeout_s=TIMEOUT_S, resend_after_s=2)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("sentinels")
    done = folder / "done"
    done.mkdir()
    with ExitStack() as stack:
        servers = stack.enter_context(watched(folder / "servers", look_every_ms=500))
        settings = WorkerSettings(
            broker_url=servers.url, result_url=servers.url, shards=SHARDS, concurrency=4, lease_s=4
        )
        workers = stack.enter_context(file_fleet(folder / "workers", settings, done, 0.02))
        worker = workers.start()
        wait_for(lambda: "ready: " in worker.output, "the worker to be ready")
        yield System(servers, worker, FileService(done, 0.0))


@contextmanager
def committing(system: System, name: str) -> Iterator[dict[Agent, list[str]]]:
    """Commit one after the other for each of some agents meanwhile; what each was told is what its list holds."""
    told: dict[Agent, list[str]] = {Agent("acme", f"{name}-{number}"): [] for number in range(AGENTS)}
    stopped, faults = threading.Event(), []

    def commit(repos: MemoryRepos, agent: Agent) -> None:
        repo = repos.repo(org_id=agent.org_id, agent_id=agent.agent_id)
        try:
            while not stopped.is_set():
                result = repo.commit({"a.md": "x"}, "m").result(timeout_s=TIMEOUT_S)
                told[agent].append(result.request_id or "")
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(error)

    with MemoryRepos(settings=system.settings) as repos:
        threads = [threading.Thread(target=commit, args=(repos, agent)) for agent in told]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: all(map(len, told.values())), "each to be served once")
            yield told
            before = {agent: len(ids) for agent, ids in told.items()}
            more = lambda: faults or all(len(told[agent]) > before[agent] + 2 for agent in told)  # noqa: E731
            wait_for(more, "each to be served after it", TIMEOUT_S)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    assert faults == []


def fail_over(servers: Watched) -> None:
    servers.wait_until_followed()
    servers.fail_over()


def lose_the_primary(servers: Watched) -> None:
    servers.wait_until_followed()
    servers.bring_back(servers.kill_primary())


@pytest.mark.parametrize("happens", [fail_over, lose_the_primary], ids=lambda happens: happens.__name__)
def test_commits_before_during_and_after_are_there_once_and_in_order(
    system: System, happens: Callable[[Watched], None]
) -> None:
    with committing(system, happens.__name__) as told:
        happens(system.servers)

    assert {agent: system.service.log(agent) for agent in told} == told
    assert system.worker.process.poll() is None
    assert "Traceback" not in system.worker.output


def test_a_client_with_asyncio_goes_on_too(system: System) -> None:
    async def commit() -> None:
        async with AsyncMemoryRepos(settings=system.settings) as repos:
            repo = repos.repo(org_id="acme", agent_id="async")
            await repo.commit({"a.md": "x"}, "m")
            await asyncio.to_thread(fail_over, system.servers)
            await repo.commit({"a.md": "large" * 50_000}, "m")

    asyncio.run(commit())

    assert len(system.service.log(Agent("acme", "async"))) == 2


def test_doctor_and_shards_find_the_primary(system: System, tmp_path: Path) -> None:
    env = {
        "PATH": environment()["PATH"],
        "MEMREPO_BROKER_URL": system.servers.url,
        "MEMREPO_SHARDS": str(SHARDS),
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }
    doctor = memrepo("doctor", folder=tmp_path, env=env)
    shards = memrepo("shards", folder=tmp_path, env=env)

    assert doctor.code == 0, doctor.stdout
    assert f"ok    broker   {system.servers.url}" in doctor.stdout
    assert f"owns {SHARDS} of {SHARDS} shards" in shards.stdout


def test_celerys_own_tools_find_it(system: System) -> None:
    app = build_app(
        WorkerSettings(broker_url=system.servers.url, result_url=system.servers.url, shards=SHARDS)
    )

    assert wait_for(lambda: app.control.ping(timeout=1), "the worker to answer")


def test_a_name_that_the_sentinels_do_not_know_is_told_at_once(system: System) -> None:
    url = system.servers.url.replace("/main/", "/other/")
    with (
        MemoryRepos(broker_url=url) as repos,
        pytest.raises(
            BrokerUnavailableError,
            match=r"its Sentinels know no primary of that name: none of .* watches other",
        ),
    ):
        repos.repo(org_id="acme", agent_id="agent").commit({"a.md": "x"}, "m").wait_enqueued()


def test_one_sentinel_that_does_not_know_the_name_keeps_nobody_away(system: System) -> None:
    servers = system.servers
    with servers.forgotten_by(servers.sentinel_ports[:1]):
        for number in range(3):  # each asks another one first
            with MemoryRepos(settings=system.settings) as repos:
                repo = repos.repo(org_id="acme", agent_id=f"knows-{number}")
                repo.commit({"a.md": "x"}, "m").result(timeout_s=TIMEOUT_S)


def test_a_name_that_the_sentinels_do_not_know_is_a_failure_of_the_broker_to_the_doctor(
    system: System, tmp_path: Path
) -> None:
    env = {
        "PATH": environment()["PATH"],
        "MEMREPO_BROKER_URL": system.servers.url.replace("/main/", "/other/"),
        "MEMREPO_STORE_URL": (tmp_path / "store").as_uri(),
        "MEMREPO_CACHE_DIR": str(tmp_path / "cache"),
    }
    ended = {name: memrepo(name, folder=tmp_path, env=env) for name in ("doctor", "shards", "worker")}

    assert all(one.code for one in ended.values())
    for one in ended.values():
        assert "its Sentinels know no primary of that name" in one.stdout + one.stderr
        assert "Traceback" not in one.stdout + one.stderr


def test_a_worker_whose_sentinels_forget_the_name_goes_on_when_they_know_it_again(system: System) -> None:
    servers, worker = system.servers, system.worker
    with committing(system, "forgotten") as told, ExitStack() as within:
        client = within.enter_context(servers.primary.client())
        with servers.forgotten_by(servers.sentinel_ports):
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub", skipme=True)
            wait_for(lambda: "its Sentinels know no primary" in worker.output, "the worker to say so")
            met = len(worker.output)

    assert {agent: system.service.log(agent) for agent in told} == told
    assert worker.process.poll() is None
    assert "Traceback" not in worker.output
    assert "gave up" not in worker.output[met:]
