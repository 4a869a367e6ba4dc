"""Sentinels and data nodes with users, passwords and TLS: all programs are let in, and follow the primary."""

from __future__ import annotations

import base64
import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from memrepo import BrokerUnavailableError, MemoryRepos, Settings
from memrepo.settings import environment
from tests.support.commands import MEMREPO, memrepo
from tests.support.guarded_sentinels import ASKING_PASSWORD, DATABASE, Guarded, guarded
from tests.support.ports import LOOPBACK, answers, free_port
from tests.support.sentinel import Watched
from tests.support.started import started
from tests.support.valkey import SERVER
from tests.support.waiting import wait_for
from tests.support.warm import Running

TIMEOUT_S = 60.0
SHARDS, AGENTS = 4, 4
ORG = "acme"
LOGIN = "me:secret"
VALKEY = "valkey" in SERVER
"""Whose Sentinels coordinate a failover."""


@dataclass(frozen=True)
class System:
    """The servers, a worker, and Flower."""

    servers: Guarded
    env: dict[str, str]
    flower_port: int
    worker: Running
    worker_log: Path

    def client(self) -> MemoryRepos:
        url = self.servers.producers.url
        return MemoryRepos(
            settings=Settings(url, url, shards=SHARDS, enqueue_timeout_s=TIMEOUT_S, resend_after_s=2)
        )

    def flower(self, path: str) -> str:
        login = base64.b64encode(LOGIN.encode()).decode()
        request = Request(
            f"http://{LOOPBACK}:{self.flower_port}{path}", headers={"Authorization": f"Basic {login}"}
        )
        with urlopen(request, timeout=10) as answer:
            return str(answer.read(), "utf-8")

    def flower_shows(self, agent: str) -> bool:
        return f"{ORG}/{agent} " in self.flower("/api/tasks?limit=10000")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("guarded")
    with ExitStack() as stack:
        servers = stack.enter_context(guarded(folder / "servers"))
        env = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": servers.workers.url,
            "MEMREPO_SHARDS": str(SHARDS),
            "MEMREPO_STORE_URL": (folder / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(folder / "cache"),
            "MEMREPO_FLOWER_BASIC_AUTH": LOGIN,
            "MEMREPO_LEASE_S": "4",
        }
        log, port = folder / "memrepo.log", free_port()
        (folder / "flower").mkdir()
        ready = lambda: "ready: " in log.read_text()  # noqa: E731 - said where it is needed
        worker = stack.enter_context(started([MEMREPO, "worker"], folder=folder, ready=ready, env=env))
        stack.enter_context(
            started(
                [MEMREPO, "flower", "--port", str(port)],
                folder=folder / "flower",
                ready=lambda: answers(port),
                env=env,
            )
        )
        yield System(servers, env, port, worker, log)


def commit_once(system: System, agent: str) -> None:
    with system.client() as repos:
        job = repos.repo(org_id=ORG, agent_id=agent).commit({"a.md": "x"}, "m", create_repo_if_missing=True)
        assert job.result(timeout_s=TIMEOUT_S).sha


def test_a_producer_a_worker_doctor_shards_and_flower_are_let_in(system: System, tmp_path: Path) -> None:
    commit_once(system, "let-in")

    doctor = memrepo("doctor", folder=tmp_path, env=system.env)
    shards = memrepo("shards", folder=tmp_path, env=system.env)
    assert doctor.code == 0, doctor.stdout
    assert f"owns {SHARDS} of {SHARDS} shards" in shards.stdout
    wait_for(lambda: 'flower_worker_online{worker="memrepo-' in system.flower("/metrics"), "Flower's worker")
    secrets = (ASKING_PASSWORD, "change-me")
    assert not any(secret in doctor.stdout + system.flower("/broker") for secret in secrets)


def test_the_number_of_the_database_is_honoured(system: System) -> None:
    with system.client() as repos:
        repo = repos.repo(org_id=ORG, agent_id="let-in")
        repo.get_head_sha().result(timeout_s=TIMEOUT_S)
        system.worker.send_signal(signal.SIGSTOP)
        try:
            jobs = [repo.get_head_sha() for _ in range(2)]
            shown = json.loads(system.flower("/api/queues/length"))["active_queues"]
        finally:
            system.worker.send_signal(signal.SIGCONT)
        assert len({job.result(timeout_s=TIMEOUT_S) for job in jobs}) == 1

    assert {queue["name"] for queue in shown} == {f"memrepo.{shard:03}" for shard in range(SHARDS)}
    assert sum(queue["messages"] for queue in shown) == 2
    with system.servers.workers.primary.client() as client:
        assert set(client.info("keyspace")) == {f"db{DATABASE}"}


def fail_over(servers: Watched) -> None:
    servers.fail_over(coordinated=VALKEY)


def lose_the_primary(servers: Watched) -> None:
    servers.bring_back(servers.kill_primary())


def lose_the_first_sentinel_and_fail_over(servers: Watched) -> None:
    servers.end_first_sentinel()
    servers.fail_over(coordinated=VALKEY)


@contextmanager
def committing(system: System, name: str) -> Iterator[dict[str, list[str]]]:
    """Commit one after the other for each of some agents meanwhile; what each was told is what its list holds."""
    told: dict[str, list[str]] = {f"{name}-{number}": [] for number in range(AGENTS)}
    stopped, faults = threading.Event(), []

    def commit(repos: MemoryRepos, agent: str) -> None:
        repo = repos.repo(org_id=ORG, agent_id=agent)
        try:
            while not stopped.wait(0.05):
                number = len(told[agent])
                job = repo.commit({"a.md": f"{number}"}, "m", create_repo_if_missing=True)
                told[agent].append(job.result(timeout_s=TIMEOUT_S).sha)
        except Exception as error:  # noqa: BLE001 - told below
            faults.append(error)

    with system.client() as repos:
        threads = [threading.Thread(target=commit, args=(repos, agent)) for agent in told]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: faults or all(told.values()), "each to be served once", TIMEOUT_S)
            yield told
            before = {agent: len(shas) for agent, shas in told.items()}
            more = lambda: faults or all(len(told[agent]) > before[agent] + 2 for agent in told)  # noqa: E731
            wait_for(more, "each to be served after it", TIMEOUT_S)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
    assert faults == []


def shown_of_another_commit(system: System, name: str) -> bool:
    commit_once(system, f"after-{name}")
    return system.flower_shows(f"after-{name}")


@pytest.mark.parametrize(
    "happens",
    [fail_over, lose_the_primary, lose_the_first_sentinel_and_fail_over],
    ids=lambda happens: happens.__name__,
)
def test_commits_are_there_once_and_in_order_and_flower_follows(
    system: System, happens: Callable[[Watched], None]
) -> None:
    name = happens.__name__
    system.servers.workers.wait_until_followed()
    with committing(system, name) as told:
        happens(system.servers.workers)

    with system.client() as repos:
        for agent, shas in told.items():
            history = repos.repo(org_id=ORG, agent_id=agent).get_history(limit=1000).result(TIMEOUT_S)
            assert [commit.sha for commit in reversed(history)] == shas
    # Events are published and not kept: what is done before Flower listens again is never shown by it.
    wait_for(lambda: shown_of_another_commit(system, name), "Flower to show what came after it", TIMEOUT_S)
    assert json.loads(system.flower("/api/queues/length"))["active_queues"][0]["name"] == "memrepo.000"
    assert "Traceback" not in system.worker_log.read_text()


def test_a_wrong_password_of_the_sentinels_is_told_as_one(system: System) -> None:
    servers = system.servers.producers
    url = servers.url.replace("sentinel_password=", "sentinel_password=wrong")
    with (
        MemoryRepos(broker_url=url) as repos,
        pytest.raises(BrokerUnavailableError, match="check user and password") as caught,
    ):
        repos.repo(org_id=ORG, agent_id="a").commit({"a.md": "x"}, "m")

    assert ASKING_PASSWORD not in str(caught.value)


def test_a_certificate_that_nobody_vouches_for_is_told_as_one(system: System) -> None:
    servers = system.servers.producers
    url = servers.url_with(servers.query.partition("&ssl_ca_certs")[0])
    with (
        MemoryRepos(broker_url=url) as repos,
        pytest.raises(BrokerUnavailableError, match="its certificate cannot be verified"),
    ):
        repos.repo(org_id=ORG, agent_id="a").commit({"a.md": "x"}, "m")
