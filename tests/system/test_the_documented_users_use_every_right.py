"""Each right that docs/acl.conf gives is used: by a worker, a producer, or the commands that ask them."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepoBusyError, MemoryRepos, Settings
from memrepo.limits import MARKS_SPAN_S
from memrepo.redis.rights import Right, rights
from memrepo.routing import route, shard_of
from memrepo.settings import environment
from memrepo.wire.keys import depths_key, record_key, unacked_key
from tests.support.acl import ACL, PRODUCER, WORKER, documented_rights
from tests.support.commands import MEMREPO, memrepo
from tests.support.flower import running_flower
from tests.support.monitor import Asked, Heard, monitored
from tests.support.ports import LOOPBACK, free_port
from tests.support.started import started
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.warm import Running

pytestmark = pytest.mark.timeout(300)

UNHEARD = {*rights("", "auth select")}
"""A server tells nobody of logins; and a database is chosen where its number is another than 0."""

TIMEOUT_S = 30.0
ORG = "acme"
LARGE = 100_000
LEASE_S = 2
LONG = {"MEMREPO_LEASE_S": "120"}
"""A lease that outlives a worker's being frozen."""


@dataclass
class Site:
    """A server that knows the two users: producers reach it by its Unix socket, workers by TCP."""

    server: Valkey
    admin: redis.Redis
    folder: Path
    metrics_port: int = field(default_factory=free_port)
    workers: int = 0

    @property
    def env(self) -> dict[str, str]:
        """A worker's."""
        return {
            "PATH": environment()["PATH"],
            "MEMREPO_BROKER_URL": f"redis://{WORKER}:change-me-worker@{LOOPBACK}:{self.server.port}/0",
            "MEMREPO_STORE_URL": (self.folder / "store").as_uri(),
            "MEMREPO_CACHE_DIR": str(self.folder / "cache"),
            "MEMREPO_LEASE_S": str(LEASE_S),
        }

    def repos(self, **values: object) -> MemoryRepos:
        url = f"unix://{PRODUCER}:change-me-producer@{self.folder / 'socket'}?db=0"
        settings = Settings(
            url,
            url,
            resend_after_s=0.3,
            poll_interval_s=0.1,
            enqueue_timeout_s=TIMEOUT_S,
            **values,  # type: ignore[arg-type]
        )
        return MemoryRepos(settings=settings)

    @contextmanager
    def worker(self, **env: str) -> Iterator[Running]:
        """Run a worker for the block; it ends in order, so that the next one takes its shards at once."""
        self.workers += 1
        folder = self.folder / f"worker-{self.workers}"
        folder.mkdir()
        log = folder / "memrepo.log"
        ready = lambda: "ready: " in log.read_text()  # noqa: E731 - said where it is needed
        with started([MEMREPO, "worker"], folder=folder, ready=ready, env={**self.env, **env}) as process:
            yield process
            process.terminate()
            process.wait(TIMEOUT_S)

    def take(self, queue: str) -> None:
        """Have it look as if a worker had taken the oldest message."""
        self.admin.hset(unacked_key(queue), "1", str(self.admin.rpop(queue)))

    def celery(self, *arguments: str) -> str:
        """Ask by Celery's own command."""
        command = [sys.executable, "-m", "celery", "-A", "memrepo_worker", *arguments]
        ended = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@contextmanager
def frozen(site: Site, worker: Running) -> Iterator[None]:
    """Have a worker serve nothing, while its leases say that it does."""
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


def small_and_large_commits_are_made_and_read(site: Site) -> None:
    with site.worker(), site.repos() as repos:
        repo = repos.repo(org_id=ORG, agent_id="agent-1")
        repo.create_repo().result(timeout_s=TIMEOUT_S)
        large = secrets.token_hex(LARGE)
        job = repo.commit({"large.md": large}, "m")
        job.result(timeout_s=TIMEOUT_S)
        assert repo.get_file("large.md").result(timeout_s=TIMEOUT_S).text == large
        assert repos.job(job.id).result(timeout_s=TIMEOUT_S) == job.result()
        with repo.watch(after=0) as changes:
            assert next(iter(changes)).commits
        repo.commit({"a.md": "x"}, "m").result(timeout_s=TIMEOUT_S)


def a_job_is_cancelled_while_it_waits_and_after_it_has_ended(site: Site) -> None:
    with site.worker(**LONG) as worker, site.repos() as repos:
        repo = repos.repo(org_id=ORG, agent_id="cancelled")
        done = repo.create_repo()
        done.result(timeout_s=TIMEOUT_S)
        with frozen(site, worker):
            waiting = repo.commit({"a.md": "x"}, "m")
            waiting.describe()
            waiting.cancel()
        with site.repos() as others:
            others.job(done.id).cancel()
        site.admin.delete(record_key(done.id))
        repos.job(done.id).cancel()
        repo.get_head_sha().result(timeout_s=TIMEOUT_S)
        site.celery("control", "revoke", done.id)
        # As if somebody had asked a day ago, and had not ended well.
        site.admin.zadd("_kombu.binding_deadlines", {"reply.somebody.pidbox": 1})
        site.celery("inspect", "memrepo_counters")


def a_request_for_which_there_is_no_room_is_refused(site: Site) -> None:
    with site.worker(), site.repos(bodies_bytes_max=400_000) as repos:
        with pytest.raises(MemoryRepoBusyError):
            repos.repo(org_id=ORG, agent_id="large").commit({"large.md": secrets.token_hex(400_000)}, "m")
        site.admin.delete("memrepo:bodies:until")
        site.admin.set("memrepo:bodies:until", "of another kind")
        commit = repos.repo(org_id=ORG, agent_id="large").commit
        commit({"large.md": secrets.token_hex(LARGE)}, "m", create_repo_if_missing=True).result(
            timeout_s=TIMEOUT_S
        )


def what_others_have_written_is_put_right(site: Site) -> None:
    with site.worker(), site.repos() as repos:
        repo = repos.repo(org_id=ORG, agent_id="odd")
        repo.create_repo({"large.md": secrets.token_hex(LARGE)}).result(timeout_s=TIMEOUT_S)
        site.admin.delete("memrepo:bodies:until")
        site.admin.set("memrepo:bodies:until", "of another kind")
        repo.get_file("large.md").result(timeout_s=TIMEOUT_S)
        span = int(time.time()) // MARKS_SPAN_S
        for key in {f"memrepo:ended:{each}:{number}" for each in (span, span + 1) for number in range(1024)}:
            site.admin.delete(key)
            site.admin.set(key, "of another kind")
        repo.commit({"a.md": "x"}, "m").result(timeout_s=TIMEOUT_S)
        shard = str(shard_of(ORG, "odd"))
        site.admin.hdel("memrepo:owners", shard)
        wait_for(lambda: site.admin.hexists("memrepo:owners", shard), "its owner to take it again", TIMEOUT_S)


def agents_of_one_shard_are_served(site: Site) -> None:
    shard = shard_of(ORG, "first")
    second = next(f"b-{number}" for number in range(10_000) if shard_of(ORG, f"b-{number}") == shard)
    with site.worker(**LONG) as worker, site.repos() as repos:
        first, other = (repos.repo(org_id=ORG, agent_id=name) for name in ("first", second))
        for repo in (first, other):
            repo.create_repo().result(timeout_s=TIMEOUT_S)
        with frozen(site, worker):
            jobs = [
                repo.commit({"a.md": str(number)}, "m") for number in range(20) for repo in (first, other)
            ]
        for job in jobs:
            job.result(timeout_s=TIMEOUT_S)


def what_is_lost_is_looked_for_and_sent_again(site: Site) -> None:
    with site.worker(**LONG) as worker, site.repos() as repos:
        repo = repos.repo(org_id=ORG, agent_id="lost")
        queue = route(ORG, "lost")
        repo.create_repo().result(timeout_s=TIMEOUT_S)
        with frozen(site, worker):
            taken, lost, waits = (repo.commit({"a.md": str(number)}, "m") for number in range(3))
            for job in (taken, lost, waits):
                job.wait_enqueued()
            site.take(queue)
            site.admin.rpop(queue)
            wait_for(lambda: site.admin.llen(queue) == 2, "the lost one to be sent again", TIMEOUT_S)
            without_body = repo.commit({"large.md": secrets.token_hex(LARGE)}, "m")
            without_body.wait_enqueued()
            for key in site.admin.keys("memrepo:body:*"):
                site.admin.delete(key)
        for job in (lost, waits, without_body):
            job.result(timeout_s=TIMEOUT_S)


def an_agent_that_floods_is_refused(site: Site) -> None:
    with site.worker(**LONG) as worker, site.repos(agent_depth_max=2) as repos:
        repo = repos.repo(org_id=ORG, agent_id="floods")
        with frozen(site, worker), suppress(MemoryRepoBusyError):
            for _ in range(10):
                repo.get_head_sha().wait_enqueued()


def a_worker_takes_over_what_a_dead_one_had(site: Site) -> None:
    queue = route(ORG, "orphan")
    with site.repos() as repos, site.worker() as dead:
        repo = repos.repo(org_id=ORG, agent_id="orphan")
        repo.create_repo().result(timeout_s=TIMEOUT_S)
        with frozen(site, dead):
            jobs = [repo.commit({"a.md": str(number)}, "m") for number in range(2)]
            for job in jobs:
                job.wait_enqueued()
            site.take(queue)
            site.admin.delete(depths_key(queue))
            dead.kill()
            with site.worker():
                for job in jobs:
                    job.result(timeout_s=TIMEOUT_S)


def shards_move_between_workers(site: Site) -> None:
    def owned() -> list[int]:
        owners = [str(owner).split()[1] for owner in site.admin.hvals("memrepo:owners")]
        return [owners.count(one) for one in set(owners)]

    with site.worker() as first:
        wait_for(lambda: owned() == [64], "one to own all", TIMEOUT_S)
        with site.worker():
            wait_for(lambda: owned() == [32, 32], "both to have their share", TIMEOUT_S)
            first.terminate()
            first.wait(TIMEOUT_S)
            wait_for(lambda: owned() == [64], "the other to own all", TIMEOUT_S)


def a_worker_that_may_not_serve_withdraws(site: Site) -> None:
    with site.worker():
        site.admin.execute_command("ACL", "SETUSER", WORKER, "-client|tracking")
        try:
            wait_for(lambda: site.admin.zcard("memrepo:withdrawn"), "it to withdraw", TIMEOUT_S)
        finally:
            site.admin.execute_command("ACL", "SETUSER", WORKER, "+client|tracking")
        wait_for(lambda: site.admin.hlen("memrepo:owners") == 64, "it to come back", TIMEOUT_S)


def the_operator_looks(site: Site) -> None:
    with site.worker(MEMREPO_METRICS_PORT=str(site.metrics_port)):
        urllib.request.urlopen(f"http://{LOOPBACK}:{site.metrics_port}/metrics", timeout=10).close()
        for command in ("doctor", "shards"):
            ended = memrepo(command, folder=site.folder, env=site.env)
            assert ended.code == 0, ended.stdout + ended.stderr
        events = site.folder / "events"
        events.mkdir()
        log = events / f"{Path(sys.executable).name}.log"
        dump = [sys.executable, "-m", "celery", "-A", "memrepo_worker", "events", "--dump"]
        hears = lambda: "heartbeat" in log.read_text()  # noqa: E731 - likewise
        with started(dump, folder=events, ready=hears, env=site.env) as dumping:
            dumping.send_signal(signal.SIGINT)
            dumping.wait(TIMEOUT_S)
        folder = site.folder / "flower"
        folder.mkdir()
        with running_flower(
            folder, site.env["MEMREPO_BROKER_URL"], lambda ask: "memrepo.000" in ask("/api/workers?refresh=1")
        ):
            pass


def scripts_are_forgotten(site: Site) -> None:
    with site.worker(), site.repos() as repos:
        site.admin.script_flush()
        repo = repos.repo(org_id=ORG, agent_id="forgotten")
        repo.create_repo().result(timeout_s=TIMEOUT_S)
        site.admin.script_flush()
        repo.commit({"large.md": secrets.token_hex(LARGE)}, "m").result(timeout_s=TIMEOUT_S)
        site.admin.script_flush()
        repo.get_file("large.md").result(timeout_s=TIMEOUT_S)


STEPS = (
    small_and_large_commits_are_made_and_read,
    a_job_is_cancelled_while_it_waits_and_after_it_has_ended,
    what_is_lost_is_looked_for_and_sent_again,
    an_agent_that_floods_is_refused,
    a_worker_takes_over_what_a_dead_one_had,
    shards_move_between_workers,
    a_worker_that_may_not_serve_withdraws,
    the_operator_looks,
    scripts_are_forgotten,
    a_request_for_which_there_is_no_room_is_refused,
    what_others_have_written_is_put_right,
    agents_of_one_shard_are_served,
)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    folder = tmp_path_factory.mktemp("rights")
    options = ("--include", str(ACL), "--unixsocket", str(folder / "socket"))
    with ExitStack() as stack:
        server = stack.enter_context(valkey(folder / "valkey", "everysec", *options))
        admin = redis.Redis(LOOPBACK, server.port, decode_responses=True, single_connection_client=True)
        found = stack.enter_context(monitored(server, but=admin))
        site = Site(server, admin, folder)
        for step in STEPS:
            step(site)
        yield found


def unused(rights: set[Right], asked: set[Asked]) -> list[str]:
    def is_used(right: Right) -> bool:
        pattern = right.place[1:]
        return any(
            one.command == right.command and (not pattern or fnmatchcase(one.place, pattern)) for one in asked
        )

    return sorted(str(right) for right in rights if not is_used(right))


@pytest.mark.parametrize("user", [PRODUCER, WORKER])
def test_a_user_uses_every_right(heard: Heard, user: str) -> None:
    asked = heard.over_unix if user == PRODUCER else heard.over_tcp

    assert "\n".join(unused(documented_rights(user) - UNHEARD, asked)) == ""
