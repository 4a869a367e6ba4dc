"""A server may load, be paused or busy, forget scripts or all, lose its primary, change a password: nothing is lost.

Running workers and clients wait or connect anew, and every commit is there once, in order.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest

from memrepo import BrokerUnavailableError, InvalidRequestError, MemoryRepos, Settings
from memrepo_worker.group import Agent
from memrepo_worker.settings import WorkerSettings
from tests.support.file_service import FileService
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, file_fleet

SHARDS, AGENTS = 4, 4
TIMEOUT_S = 40.0
LASTS_S = 1.5
PASSWORD = "s3cr3t"


@dataclass
class System:
    server: Valkey
    worker: WorkerProcess
    service: FileService
    settings: Settings

    def run(self, *command: str) -> None:
        with self.server.client() as admin:
            admin.execute_command(*command)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("through")
    done = folder / "done"
    done.mkdir()
    with ExitStack() as stack:
        options = ("--busy-reply-threshold", "100", "--replica-serve-stale-data", "no")
        server = stack.enter_context(valkey(folder / "valkey", "always", *options))
        with server.client() as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        url = f"redis://app:{PASSWORD}@{LOOPBACK}:{server.port}/0"
        settings = WorkerSettings(broker_url=url, result_url=url, shards=SHARDS, concurrency=4, lease_s=4)
        worker = stack.enter_context(file_fleet(folder / "workers", settings, done, 0.02)).start()
        wait_for(lambda: "ready: " in worker.output, "the worker to be ready")
        client = Settings(url, url, shards=SHARDS, enqueue_timeout_s=TIMEOUT_S, resend_after_s=2)
        yield System(server, worker, FileService(done, 0.0), client)


def load(system: System) -> None:
    """Crash, and take a while to read the data again."""
    with system.server.client() as admin:
        admin.mset({f"filler:{number}": "x" for number in range(1500)})
        admin.bgrewriteaof()
        wait_for(lambda: not admin.info("persistence")["aof_rewrite_in_progress"], "the log to be rewritten")
    system.server.kill()
    before, system.server.options = (
        system.server.options,
        (*system.server.options, "--key-load-delay", "1000"),
    )
    user = f"app on >{PASSWORD} ~* &* +@all"
    system.server.options = (*system.server.options, "--user", *user.split())
    system.server.start()
    system.server.options = (*before, "--user", *user.split())


def pause(system: System) -> None:
    system.run("CLIENT", "PAUSE", str(int(LASTS_S * 1000)), "ALL")


def pause_writes(system: System) -> None:
    system.run("CLIENT", "PAUSE", str(int(LASTS_S * 1000)), "WRITE")


def be_busy(system: System) -> None:
    with socket.create_connection((LOOPBACK, system.server.port)) as connection:
        connection.sendall(b'EVAL "while true do end" 0\r\n')
        pass_by(LASTS_S)
        system.run("SCRIPT", "KILL")


def forget_scripts(system: System) -> None:
    for _ in range(20):
        system.run("SCRIPT", "FLUSH")
        pass_by(0.05)


def lose_its_primary(system: System) -> None:
    system.run("REPLICAOF", LOOPBACK, str(closed_port()))
    pass_by(LASTS_S)
    system.run("REPLICAOF", "NO", "ONE")


def change_the_password(system: System) -> None:
    system.run("ACL", "SETUSER", "app", "resetpass", ">another")
    for kind in ("normal", "pubsub"):
        system.run("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    pass_by(LASTS_S)
    system.run("ACL", "SETUSER", "app", f">{PASSWORD}")


def lose_all_data(system: System) -> None:
    system.run("FLUSHALL")


def pass_by(seconds: float) -> None:
    """Let what was done last for a while."""
    threading.Event().wait(seconds)


HAPPENINGS = [
    pause,
    pause_writes,
    be_busy,
    forget_scripts,
    lose_its_primary,
    change_the_password,
    lose_all_data,
    load,
]


@pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
def test_every_commit_is_there_once_and_in_order(system: System, happens: Callable[[System], None]) -> None:
    told: dict[Agent, list[str]] = {
        Agent("acme", f"{happens.__name__}-{number}"): [] for number in range(AGENTS)
    }
    stopped = threading.Event()

    def commit_one_after_the_other(repos: MemoryRepos, agent: Agent) -> None:
        repo = repos.repo(org_id=agent.org_id, agent_id=agent.agent_id)
        while not stopped.is_set():
            request_id = str(uuid4())
            while not stopped.is_set() or request_id not in told[agent]:
                with suppress(BrokerUnavailableError):  # a password that is refused; the same id is safe
                    repo.commit({"a.md": "x"}, "m", request_id=request_id).result(timeout_s=TIMEOUT_S)
                    told[agent].append(request_id)
                    break

    with MemoryRepos(settings=system.settings) as repos:
        threads = [threading.Thread(target=commit_one_after_the_other, args=(repos, agent)) for agent in told]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: all(map(len, told.values())), "each to be served once", TIMEOUT_S)
            happens(system)
            before = {agent: len(ids) for agent, ids in told.items()}
            more = lambda: all(len(told[agent]) > before[agent] + 2 for agent in told)  # noqa: E731
            wait_for(more, "each to be served after it", TIMEOUT_S)
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    assert {agent: system.service.log(agent) for agent in told} == told
    assert system.worker.process.poll() is None
    assert "Traceback" not in system.worker.output


def test_after_all_data_was_lost_shards_owners_and_counts_are_right_again(system: System) -> None:
    agreed = ("memrepo:shards", "memrepo:portable_names", "memrepo:cells")
    with system.server.client() as client, MemoryRepos(settings=system.settings) as repos:
        before = client.mget(agreed)
        repo = repos.repo(org_id="acme", agent_id="counted")
        jobs = [repo.commit({"a.md": "x"}, "m") for _ in range(20)]
        client.flushall()
        shas = [job.result(timeout_s=TIMEOUT_S).request_id for job in jobs]

        wait_for(lambda: client.mget(agreed) == before, "what is agreed on to be recorded again")
        wait_for(lambda: client.hlen("memrepo:owners") == SHARDS, "all shards to have an owner")
        wait_for(lambda: not client.keys("memrepo:depth:*"), "nothing to be counted")
        assert not client.keys("memrepo:unacked:*")
        other = Settings(system.settings.broker_url, system.settings.result_url, shards=SHARDS + 1)
        with MemoryRepos(settings=other) as wrong, pytest.raises(InvalidRequestError, match="MEMREPO_SHARDS"):
            wrong.repo(org_id="acme", agent_id="counted").get_head_sha()

    done = system.service.log(Agent("acme", "counted"))
    assert sorted(done) == sorted(filter(None, shas))
    assert len(set(done)) == 20
