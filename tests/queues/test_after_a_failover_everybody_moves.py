"""After a failover that leaves connections open to what is a replica by then, everybody moves to the new primary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepos, Settings
from memrepo.redis.address import parse_redis_url
from memrepo.redis.client import connect
from memrepo_worker.settings import WorkerSettings
from tests.support.ports import LOOPBACK
from tests.support.proxy import Proxy, proxy
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, file_fleet

SHARDS = 4
SERVED_WITHIN_S = 20.0
"""Far more than it takes; without what is tested here it takes for ever."""


@dataclass
class Pair:
    """Two servers behind one address, the second a replica of the first until the failover."""

    first: Valkey
    second: Valkey
    address: Proxy

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.address.port}/0"

    def fail_over(self, *, followed: bool = True) -> None:
        """Make the second the primary and lead new connections there; nothing that was written is lost.

        ``followed``: the first becomes a replica of the second; else one of nobody who answers.
        """
        with self.first.client() as first, self.second.client() as second:
            wait_for(
                lambda: "online" in str(first.info("replication")),
                "the second to be a replica that is online",
            )
            first.execute_command("FAILOVER", "TO", LOOPBACK, self.second.port)
            wait_for(lambda: second.role()[0] == "master", "the second to be the primary")
            wait_for(lambda: first.role()[0] == "slave", "the first to be a replica")
            if not followed:
                first.execute_command("REPLICAOF", LOOPBACK, "1")
        self.address.lead_to(self.second.url)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        first = stack.enter_context(valkey(tmp_path / "first"))
        second = stack.enter_context(
            valkey(tmp_path / "second", "everysec", "--replicaof", f"{LOOPBACK} {first.port}")
        )
        with second.client() as client:
            wait_for(lambda: client.role()[3] == "connected", "the replica to follow")
        yield Pair(first, second, stack.enter_context(proxy(first.url)))


@pytest.fixture
def workers(pair: Pair, tmp_path: Path) -> Iterator[WorkerFleet]:
    settings = WorkerSettings(
        broker_url=pair.url, result_url=pair.url, shards=SHARDS, concurrency=4, lease_s=4
    )
    with file_fleet(tmp_path / "workers", settings, tmp_path / "done", 0.3) as running:
        yield running


@pytest.mark.parametrize("followed", [True, False], ids=["and_follows", "and_hears_of_nothing"])
def test_what_is_sent_after_it_is_served_over_new_connections(
    pair: Pair, workers: WorkerFleet, followed: bool
) -> None:
    worker = workers.start()
    settings = Settings(
        pair.url, pair.url, shards=SHARDS, enqueue_timeout_s=SERVED_WITHIN_S, shard_depth_max=0
    )
    with MemoryRepos(settings=settings) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        before = [repo.commit({"a.md": str(number)}, "m") for number in range(3)]
        for job in before:
            job.result(timeout_s=SERVED_WITHIN_S)

        pair.fail_over(followed=followed)
        after = [repo.commit({"a.md": str(number)}, "m") for number in range(3)]
        for job in after:
            assert job.result(timeout_s=SERVED_WITHIN_S).created
        counted = repo.get_head_sha().result(timeout_s=SERVED_WITHIN_S)

    assert counted == "6"
    assert worker.process.poll() is None
    assert "Traceback" not in worker.output
    assert "Frequent restarts" not in worker.output


def test_a_request_that_is_under_way_meanwhile_gets_its_result(pair: Pair, workers: WorkerFleet) -> None:
    workers.start()
    settings = Settings(pair.url, pair.url, shards=SHARDS, enqueue_timeout_s=SERVED_WITHIN_S)
    with MemoryRepos(settings=settings) as repos:
        repos.repo(org_id="acme", agent_id="first").get_head_sha().result(timeout_s=SERVED_WITHIN_S)
        jobs = [
            repos.repo(org_id="acme", agent_id=f"agent-{number % 8}").commit({"a.md": "x"}, "m")
            for number in range(200)
        ]
        pair.fail_over()
        for job in jobs:
            assert job.result(timeout_s=SERVED_WITHIN_S).created


def test_a_client_whose_server_became_a_replica_writes_to_the_new_primary_at_its_next_try(pair: Pair) -> None:
    with connect(parse_redis_url(pair.url, "URL"), connect_timeout_s=5, timeout_s=5) as client:
        client.set("key", 1)
        pair.fail_over()

        with pytest.raises(redis.exceptions.ReadOnlyError):
            client.set("key", 2)
        client.set("key", 3)

    with pair.second.client() as second:
        assert second.get("key") == "3"
