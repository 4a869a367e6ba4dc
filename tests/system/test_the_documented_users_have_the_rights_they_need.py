"""The users of docs/acl.conf: under them everything works, and neither may do more than it needs."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo import InvalidRequestError, JobCancelledError, MemoryRepos, Settings
from memrepo.settings import environment
from tests.support.acl import ACL, PRODUCER, WORKER
from tests.support.commands import MEMREPO, memrepo
from tests.support.ports import LOOPBACK
from tests.support.started import started
from tests.support.valkey import Valkey, valkey

TIMEOUT_S = 20
LARGE = 200_000


@dataclass(frozen=True)
class Guarded:
    """A system whose server knows the two users; ``env`` is a worker's."""

    server: Valkey
    env: dict[str, str]

    def url(self, user: str) -> str:
        return address(self.server, user)

    def may(self, user: str, *command: str | int) -> bool:
        """Tell whether a user may run a command, by the server's own word."""
        with self.server.client() as admin:
            answer = admin.execute_command("ACL", "DRYRUN", user, *command)
        return bool(answer == "OK")

    def knows(self, command: str) -> bool:
        """Tell whether the server has a command at all: Redis 7.0 has no WAITAOF."""
        with self.server.client() as admin:
            return admin.execute_command("COMMAND INFO", command)[0] is not None

    def denied(self) -> set[tuple[str, str]]:
        """What the users have tried in vain: who, and what; beside what Celery's own commands can do without."""
        with self.server.client() as admin:
            tried = {(entry["username"], entry["object"]) for entry in admin.acl_log()}
        return tried - {(WORKER, "client|setinfo")}


def address(server: Valkey, user: str) -> str:
    password = f"change-me-{user.removeprefix('memrepo-')}"
    return f"redis://{user}:{password}@{LOOPBACK}:{server.port}/0"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    with ExitStack() as stack:
        server = stack.enter_context(valkey(folder / "valkey", "everysec", "--include", str(ACL)))
        env = {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": address(server, WORKER),
            "MEMREPO_STORE_URL": (folder / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(folder / "cache"),
        }
        log = folder / "memrepo.log"
        ready = lambda: "ready: " in log.read_text()  # noqa: E731 - said where it is needed
        stack.enter_context(started([MEMREPO, "worker"], folder=folder, ready=ready, env=env))
        yield Guarded(server, env)


@pytest.fixture
def repos(guarded: Guarded) -> Iterator[MemoryRepos]:
    with MemoryRepos(broker_url=guarded.url(PRODUCER)) as client:
        yield client


def test_small_and_large_commits_are_made_and_read(guarded: Guarded, repos: MemoryRepos) -> None:
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    large = secrets.token_hex(LARGE)

    repo.create_repo().result(timeout_s=TIMEOUT_S)
    repo.commit({"small.md": "x"}, "m").result(timeout_s=TIMEOUT_S)
    job = repo.commit({"large.md": large}, "m")

    assert job.result(timeout_s=TIMEOUT_S).created
    assert repo.get_file("large.md").result(timeout_s=TIMEOUT_S).text == large
    assert repos.job(job.id).result(timeout_s=TIMEOUT_S) == job.result()
    assert repo.get_head_sha().describe().served is not False
    assert guarded.denied() == set()


def test_the_rights_that_durability_takes_are_those_that_the_page_adds(guarded: Guarded) -> None:
    page = ACL.read_text()
    for durability, rights in (("disk", "+waitaof (-@all ~memrepo:flushed +set)"), ("replica", "+wait")):
        assert rights in page
        assert not guarded.may(PRODUCER, "SET", "memrepo:flushed", 1) or durability == "replica"
        if guarded.knows(rights.split()[0].removeprefix("+")):
            with guarded.server.client() as admin:
                admin.execute_command("ACL", "SETUSER", PRODUCER, *re.findall(r"\(.*\)|\S+", rights))
    disk = Settings(guarded.url(PRODUCER), guarded.url(PRODUCER), enqueue_durability="disk")

    with MemoryRepos(settings=disk) as repos:
        create = repos.repo(org_id="acme", agent_id="agent-3").create_repo
        if guarded.knows("waitaof"):
            create().result(timeout_s=TIMEOUT_S)
            assert guarded.denied() == {
                (PRODUCER, "config|get")
            }  # so that it takes the server for one of everysec
        else:
            with pytest.raises(InvalidRequestError, match="which this broker cannot do"):
                create().result(timeout_s=TIMEOUT_S)
            assert guarded.denied() == set()

    assert guarded.may(PRODUCER, "WAIT", 1, 1)
    with guarded.server.client() as admin:
        admin.execute_command("ACL", "LOG", "RESET")


def test_jobs_are_cancelled_and_revoked(guarded: Guarded, repos: MemoryRepos) -> None:
    repo = repos.repo(org_id="acme", agent_id="agent-2")
    job_id = secrets.token_hex(16)

    repos.job(job_id).cancel()
    with pytest.raises(JobCancelledError):
        repos.job(job_id).result(timeout_s=TIMEOUT_S)
    done = repo.create_repo()
    done.result(timeout_s=TIMEOUT_S)
    revoked = celery(guarded, "control", "revoke", done.id)
    shown = celery(guarded, "inspect", "memrepo_counters")

    assert f"{done.id} has ended" in revoked
    assert "shards.taken" in shown
    assert guarded.denied() == set()


def celery(guarded: Guarded, *arguments: str) -> str:
    """Ask by Celery's own command, as the worker's user."""
    command = [sys.executable, "-m", "celery", "-A", "memrepo_worker", *arguments]
    ended = subprocess.run(command, env=guarded.env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("command", ["doctor", "shards"])
def test_the_workers_user_may_ask(guarded: Guarded, tmp_path: Path, command: str) -> None:
    ended = memrepo(command, folder=tmp_path, env=guarded.env)

    assert ended.code == 0, ended.stdout + ended.stderr
    assert guarded.denied() == set()


@pytest.mark.parametrize("command", ["doctor", "worker"])
def test_the_producers_user_is_told_to_be_one_and_not_how_to_become_a_worker(
    guarded: Guarded, tmp_path: Path, command: str
) -> None:
    env = {**guarded.env, "MEMREPO_BROKER_URL": guarded.url(PRODUCER), "MEMREPO_CACHE_DIR": str(tmp_path)}
    ended = memrepo(command, folder=tmp_path, env=env)

    assert ended.code == 5
    said = ended.stdout + ended.stderr
    assert "its user has a producer's rights, which are less than a worker needs" in said
    assert "ACL SETUSER" not in said
    assert "change-me" not in said


ALLOWED_TO_WORKERS_ALONE = [
    ("LTRIM", "memrepo.000", 0, -2),
    ("RPUSH", "memrepo.000", "x"),
    ("HDEL", "memrepo:unacked:000", "1"),
    ("HSET", "memrepo:unacked:000", "1", "x"),
    ("DEL", "memrepo:unacked:000"),
    ("HSET", "memrepo:owners", "0", "token worker"),
    ("ZADD", "memrepo:leases", 1, "0"),
    ("ZADD", "memrepo:workers", 1, "worker"),
    ("SET", "memrepo:shards", 1),
    ("SET", "memrepo:store", "another"),
    ("SET", "memrepo:sequence", 1),
    ("SADD", "memrepo:ended:1:1", "1"),
    ("DEL", "celery-task-meta-1"),
    ("INFO",),
    ("CLIENT", "TRACKING", "ON"),
    ("PUBLISH", "/0.celery.pidbox", "shutdown"),
    ("SADD", "_kombu.binding.celery.pidbox", "x"),
]
ALLOWED_TO_NEITHER = [
    ("DEL", "memrepo.000"),
    ("LPUSH", "memrepo:unacked:000", "x"),
    ("SET", "memrepo:ended:1:1", "x"),
    ("SET", "memrepo:owners", "x"),
    ("DEL", "memrepo:shards"),
    ("DEL", "memrepo:owners"),
    ("GET", "memrepo:bodies:bytes"),
    ("PUBLISH", "memrepo:shards", "x"),
    ("CLIENT", "SETNAME", "x"),
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("CONFIG", "GET", "requirepass"),
    ("ACL", "LIST"),
    ("MONITOR",),
    ("SHUTDOWN",),
    ("REPLICAOF", "NO", "ONE"),
    ("GET", "somebody-elses"),
    ("SET", "somebody-elses", 1),
    ("PUBLISH", "somebody-elses", 1),
    ("SCRIPT", "FLUSH"),
    ("CLIENT", "KILL", "TYPE", "normal"),
]


@pytest.mark.parametrize("command", ALLOWED_TO_WORKERS_ALONE, ids=lambda command: "-".join(map(str, command)))
def test_a_producer_may_not_do_what_only_workers_do(guarded: Guarded, command: tuple[str | int, ...]) -> None:
    assert (guarded.may(PRODUCER, *command), guarded.may(WORKER, *command)) == (False, True)


@pytest.mark.parametrize("command", ALLOWED_TO_NEITHER, ids=lambda command: "-".join(map(str, command)))
def test_neither_may_do_what_neither_needs(guarded: Guarded, command: tuple[str | int, ...]) -> None:
    assert (guarded.may(PRODUCER, *command), guarded.may(WORKER, *command)) == (False, False)
