"""A worker whose user loses a right under it leaves its shards to others, and takes its share again after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepos
from memrepo.settings import Settings
from memrepo_worker.queues.leases.status import live_workers, read_shards, withdrawn_workers
from memrepo_worker.settings import WorkerSettings
from tests.support.commands import memrepo
from tests.support.ports import LOOPBACK
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, file_fleet

SHARDS, AGENTS = 16, 20
PASSWORD = "s3cr3t"
TIMEOUT_S = 20.0


@dataclass
class Both:
    """Two workers of one broker: ``healthy`` by a user who may do all, ``limited`` by one whose rights change."""

    server: Valkey
    workers: WorkerFleet
    admin: redis.Redis

    def give(self, *rule: str) -> None:
        self.admin.execute_command("ACL", "SETUSER", "limited", *rule)

    def owned(self) -> dict[str, int]:
        with self.server.raw_client() as client:
            owners = [shard.owner for shard in read_shards(client, SHARDS) if shard.owner]
        names = [owner.partition("@")[0] for owner in owners]
        return {name: names.count(name) for name in sorted(set(names))}

    def withdrawn(self) -> dict[str, str]:
        with self.server.raw_client() as client:
            return {name.partition("@")[0]: why for name, why in withdrawn_workers(client).items()}

    def live(self) -> set[str]:
        with self.server.raw_client() as client:
            return {name.partition("@")[0] for name in live_workers(client)}

    @property
    def env_of_limited(self) -> dict[str, str]:
        limited = f"redis://limited:{PASSWORD}@{LOOPBACK}:{self.server.port}/0"
        return {
            "MEMREPO_BROKER_URL": limited,
            "MEMREPO_SHARDS": str(SHARDS),
            "MEMREPO_CACHE_DIR": str(self.workers.folder / "limited"),
        }


EVEN = {"healthy": SHARDS // 2, "limited": SHARDS // 2}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    with ExitStack() as stack:
        server = stack.enter_context(valkey(folder / "valkey", "no"))
        admin = stack.enter_context(server.client())
        admin.execute_command("ACL", "SETUSER", "limited", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        settings = WorkerSettings(
            broker_url=server.url, result_url=server.url, shards=SHARDS, concurrency=4, lease_s=2
        )
        workers = stack.enter_context(file_fleet(folder / "workers", settings, folder / "done"))
        workers.start("healthy")
        limited = f"redis://limited:{PASSWORD}@{LOOPBACK}:{server.port}/0"
        cache = folder / "workers" / "limited"
        workers.start("limited", broker_url=limited, result_url=limited, cache_dir=cache)
        one = Both(server, workers, admin)
        wait_for(lambda: one.owned() == EVEN, "both to have their share")
        yield one


def serve_all(repos: MemoryRepos) -> None:
    """Have a commit of each agent made, whichever shard it is in."""
    jobs = [
        repos.repo(org_id="acme", agent_id=f"agent-{number}").commit({"a.md": "x"}, "m")
        for number in range(AGENTS)
    ]
    for job in jobs:
        assert job.result(timeout_s=TIMEOUT_S).created


LOST = {
    "to_deliver": (["-ltrim"], ["+ltrim"], "LTRIM on memrepo.*"),
    "to_be_told_of_changes": (["-client|tracking"], ["+client|tracking"], "CLIENT TRACKING"),
    "to_take_in": (["-hset"], ["+hset"], "HSET on memrepo:unacked"),
    "to_scripts": (["-evalsha"], ["+evalsha"], "EVALSHA"),
    "to_keys": (["resetkeys", "~memrepo:*", "~celery*"], ["~*"], "memrepo."),
    "to_record_what_is_under_way": (["resetkeys", "~memrepo*"], ["~*"], "its user lacks a right"),
    "to_log_in": (["resetpass"], [f">{PASSWORD}"], "WRONGPASS"),
}


@pytest.mark.parametrize("lost", LOST)
def test_all_agents_are_served_without_it_and_it_takes_its_share_again_when_the_right_is_given_back(
    both: Both, lost: str
) -> None:
    taken, given_back, named = LOST[lost]
    settings = Settings(both.server.url, both.server.url, shards=SHARDS, poll_interval_s=0.5)
    with MemoryRepos(settings=settings) as repos:
        serve_all(repos)
        both.give(*taken)
        if lost in ("to_be_told_of_changes", "to_log_in"):  # which are asked for by new connections alone
            cut_connections(both)
        serve_all(repos)
        wait_for(lambda: both.owned() == {"healthy": SHARDS}, "the other to own all", TIMEOUT_S)
        if lost not in ("to_scripts", "to_log_in"):  # by which it would say so
            wait_for(lambda: named in both.withdrawn().get("limited", ""), f"the worker to name {named}")
        assert both.live() == {"healthy"}

        both.give(*given_back)
        wait_for(lambda: both.owned() == EVEN, "both to have their share again", TIMEOUT_S)
        serve_all(repos)

    assert both.withdrawn() == {}
    assert not both.workers.workers[1].output.count("Traceback")


def test_a_right_that_an_idle_worker_loses_is_noticed_and_told_before_a_request_needs_it(
    both: Both, tmp_path: Path
) -> None:
    limited = both.workers.workers[1]
    before = len(limited.output)
    both.give("-ltrim")
    try:
        wait_for(lambda: both.owned() == {"healthy": SHARDS}, "the other to own all", TIMEOUT_S + 10)
        wait_for(lambda: "LTRIM on memrepo.*" in both.withdrawn().get("limited", ""), "the reason")
        ready = memrepo("doctor", "--ready", folder=tmp_path, env=both.env_of_limited)
        assert ready.code == 1
        assert "cannot serve, so that it owns nothing: limited@" in ready.stdout
        assert "LTRIM on memrepo.*" in ready.stdout
    finally:
        both.give("+ltrim")
    wait_for(lambda: both.owned() == EVEN, "both to have their share again", TIMEOUT_S)
    ready = memrepo("doctor", "--ready", folder=tmp_path, env=both.env_of_limited)

    assert ready.code == 0, ready.stdout
    assert "its user lacks a right: LTRIM on memrepo.*" in limited.output[before:]


def cut_connections(both: Both) -> None:
    for kind in ("normal", "pubsub"):
        both.admin.execute_command("CLIENT", "KILL", "USER", "limited", "TYPE", kind)


def test_each_cause_is_told_once_in_the_log_and_when_it_is_over(both: Both) -> None:
    limited = both.workers.workers[1]
    before = len(limited.output)
    both.give("-ltrim")
    with MemoryRepos(settings=Settings(both.server.url, both.server.url, shards=SHARDS)) as repos:
        serve_all(repos)
        wait_for(both.withdrawn, "the worker to say why")
        both.give("+ltrim")
        wait_for(lambda: both.owned() == EVEN, "both to have their share again")

    said = [line for line in limited.output[before:].splitlines() if "cannot serve" in line]
    *causes, end = [line.partition("cannot serve")[2].partition(" (for ")[0] for line in said]
    assert 1 <= len(causes) == len(set(causes)) <= 2  # what a script has met, then which right that is
    assert end in causes
    assert "the shards are left to other workers: its user lacks a right: " in said[0]
    assert "over after" in said[-1]
