"""What it costs to be sure of a request before it counts as enqueued: in memory, on the disk, on a replica."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, p50, p95
from benchmarks.lab import ORG, Lab
from memrepo import MemoryRepos, Settings
from memrepo.settings import Durability
from tests.support.ports import LOOPBACK
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

CALLS = 60
CALLS_EVERY_SECOND = 10  # each takes up to one


def durability(lab: Lab) -> Iterator[Figure]:
    """Measure how long a call takes until the broker is as sure as asked for, one call at a time."""
    folder = lab.new_folder("durability")
    with valkey(folder / "primary") as server:
        memory = _calls_s(server, "memory", CALLS)
        yield _figure("memory", memory, memory)
        every_second = _calls_s(server, "disk", CALLS_EVERY_SECOND)
        yield _figure("disk, appendfsync everysec", every_second, memory)
        server.client().config_set("appendfsync", "always")
        yield _figure("disk, appendfsync always", _calls_s(server, "disk", CALLS), memory)
        server.client().config_set("appendfsync", "everysec")
        with valkey(folder / "replica", "everysec", "--replicaof", f"{LOOPBACK} {server.port}") as replica:
            _wait_until_it_follows(replica)
            yield _figure("replica", _calls_s(server, "replica", CALLS), memory)


def _figure(name: str, times: Sequence[float], memory: Sequence[float]) -> Figure:
    parts = {"p50 ms": p50(times) * 1e3, "p95 ms": p95(times) * 1e3}
    return Figure(
        f"call until enqueued, durability {name} / memory", p50(times) / p50(memory), "x", None, parts
    )


def _calls_s(server: Valkey, sure: Durability, count: int) -> Sequence[float]:
    """Return how long each of some calls took; the first, which connects, does not count."""
    settings = Settings(server.url, server.url, enqueue_durability=sure, enqueue_timeout_s=30)
    times = []
    with MemoryRepos(settings=settings) as repos:
        repo = repos.repo(org_id=ORG, agent_id="agent")
        for _ in range(count + 1):
            start_s = time.perf_counter()
            job = repo.commit({"a.md": "x" * 100}, "Learn")
            times.append(time.perf_counter() - start_s)
            job.pending.look_at()  # that nobody answers is meant
    return times[1:]


def _wait_until_it_follows(replica: Valkey) -> None:
    wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", "the replica")
