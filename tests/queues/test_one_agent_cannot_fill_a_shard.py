"""How many requests may wait is bounded per agent, then per shard; what is counted is right again after anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from memrepo import MemoryRepos
from memrepo.errors import MemoryRepoBusyError
from memrepo.json_text import read_json
from memrepo.settings import Settings
from memrepo_worker.queues.leases.leases import RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.transport.messages import RedisMessages, pop
from memrepo_worker.settings import WorkerSettings
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, file_fleet

DEPTHS = "memrepo:depth:000"
QUEUE, UNACKED = "memrepo.000", "memrepo:unacked:000"
AGENT_MAX, SHARD_MAX = 5, 80
HOT = "hot"
OTHERS = [f"a{number}" for number in range(49)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey") as running:
        yield running


def a_client(server: Valkey) -> MemoryRepos:
    settings = Settings(
        server.url,
        server.url,
        shards=1,
        agent_depth_max=AGENT_MAX,
        shard_depth_max=SHARD_MAX,
        poll_interval_s=0.1,
    )
    return MemoryRepos(settings=settings)


@pytest.fixture
def repos(server: Valkey) -> Iterator[MemoryRepos]:
    with a_client(server) as client:
        yield client


@pytest.fixture
def workers(server: Valkey, tmp_path: Path) -> Iterator[WorkerFleet]:
    """Workers that take 20 ms for a request."""
    settings = WorkerSettings(
        broker_url=server.url, result_url=server.url, shards=1, lease_s=1.0, concurrency=4
    )
    with file_fleet(tmp_path / "workers", settings, tmp_path / "done", 0.02) as running:
        yield running


def commit(repos: MemoryRepos, agent: str) -> None:
    repos.repo(org_id="acme", agent_id=agent).commit({"a.md": "x"}, "m")


def counted(server: Valkey) -> dict[str, int]:
    with server.client() as client:
        return {str(agent): int(count) for agent, count in client.hgetall(DEPTHS).items()}


def held(server: Valkey) -> Counter[str]:
    """Count by hand what lies in the shard."""
    with server.client() as client, client.pipeline() as pipeline:
        pipeline.lrange(QUEUE, 0, -1)
        pipeline.hvals(UNACKED)
        waiting, taken = pipeline.execute()
    summaries = [str(read_json(raw)["headers"]["kwargsrepr"]) for raw in (*waiting, *taken)]
    return Counter(summary.split()[0] for summary in summaries)


def settled(server: Valkey) -> Callable[[], bool]:
    def is_settled() -> bool:
        with server.client() as client:
            return not client.exists(QUEUE, UNACKED)

    return is_settled


def test_the_others_of_a_shard_are_taken_beside_an_agent_that_floods(
    server: Valkey, repos: MemoryRepos
) -> None:
    refused = []
    for _ in range(4 * AGENT_MAX):
        try:
            commit(repos, HOT)
        except MemoryRepoBusyError as error:
            refused.append(error)
    for agent in OTHERS:
        commit(repos, agent)

    assert len(refused) == 3 * AGENT_MAX
    assert {str(error) for error in refused} == {
        "5 requests of this agent wait: agent_depth_max is 5. Wait, then send again."
    }
    assert refused[0].details == {"agent_depth": 5, "agent_depth_max": 5}
    expected = {f"acme/{agent}": 1 for agent in OTHERS} | {"acme/hot": AGENT_MAX}
    assert counted(server) == held(server) == expected


def test_a_flood_of_several_clients_is_one_flood(server: Valkey, repos: MemoryRepos) -> None:
    for _ in range(AGENT_MAX):
        commit(repos, HOT)

    with (
        a_client(server) as other,
        pytest.raises(MemoryRepoBusyError, match="of this agent"),
    ):
        commit(other, HOT)


def test_a_full_shard_is_told_as_one(server: Valkey, repos: MemoryRepos) -> None:
    for number in range(SHARD_MAX):
        commit(repos, f"b{number}")

    with pytest.raises(
        MemoryRepoBusyError, match=f"{QUEUE}, which this agent shares .* shard_depth_max is 80"
    ):
        commit(repos, HOT)


def test_what_is_settled_counts_no_longer_through_a_kill_and_a_take_over(
    server: Valkey, repos: MemoryRepos, workers: WorkerFleet
) -> None:
    for _ in range(AGENT_MAX):
        for agent in (HOT, *OTHERS[:10]):
            commit(repos, agent)
    quick, slow = workers.argument, {**workers.argument, "delay_s": 0.8}
    workers.argument = slow  # so that there is time to see it half done
    first = workers.start()
    wait_for(lambda: 0 < sum(held(server).values()) < 50, "some to be settled")
    first.kill()
    assert counted(server) == held(server)

    workers.argument = quick
    workers.start()
    wait_for(settled(server), "all to be settled", 30)

    assert counted(server) == {}
    commit(repos, HOT)


@pytest.mark.parametrize("wrong", ["too many", "too few", "no number", "another kind"])
def test_a_take_over_counts_anew_what_does_not_add_up(server: Valkey, repos: MemoryRepos, wrong: str) -> None:
    for agent in (HOT, HOT, *OTHERS):
        commit(repos, agent)
    with server.client() as client:
        if wrong == "another kind":
            client.set(DEPTHS, "x")
        else:
            client.hset(DEPTHS, "acme/hot", {"too many": 100, "too few": 1, "no number": "x"}[wrong])

        RedisLeases(client, "w", 5.0).take([0], lambda: "token")

    assert counted(server) == held(server) == {f"acme/{agent}": 1 for agent in OTHERS} | {"acme/hot": 2}


def test_what_is_refused_counts_no_longer_either(server: Valkey, repos: MemoryRepos) -> None:
    for agent in (HOT, HOT, OTHERS[0]):
        commit(repos, agent)
    with server.client() as client, redis.Redis(port=server.port) as as_a_worker:
        token = RedisLeases(client, "w", 5.0).take([0], lambda: "token")[0]
        owned_shard = OwnedShard(0, token, 0.0)
        [popped] = pop(as_a_worker, [owned_shard], messages_max=1, bytes_max=10**6)
        [refused] = popped.deliveries

        RedisMessages(as_a_worker).acknowledge(owned_shard, {refused.number: ""})

    assert counted(server) == held(server) == {"acme/hot": 1, f"acme/{OTHERS[0]}": 1}


@pytest.mark.parametrize("wrong", ["too many", "no number", "another kind"])
def test_a_shard_that_is_empty_counts_nobody(
    server: Valkey, repos: MemoryRepos, workers: WorkerFleet, wrong: str
) -> None:
    workers.start()
    wait_for(lambda: server.client().exists("memrepo:owners"), "the worker to own the shard")
    with server.client() as client:
        if wrong == "another kind":
            client.set(DEPTHS, "x")
        else:
            client.hset(DEPTHS, "acme/hot", {"too many": 100, "no number": "x"}[wrong])

    job = repos.repo(org_id="acme", agent_id=HOT).commit({"a.md": "x"}, "m")
    job.result(timeout_s=30)

    wait_for(lambda: counted(server) == {}, "nothing to be counted")
