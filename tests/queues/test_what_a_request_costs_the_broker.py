"""How many commands a commit and a read cost Redis, counted by the server; and how often threads are switched for one.

Counted is what does not depend on time: not heartbeats, polls, and events, of which many are published at once.
Where a command is added, its place here says so; where one is saved, its place here goes down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from memrepo import MemoryRepo, MemoryRepos, Settings
from memrepo.clock import steady_clock
from memrepo_worker.settings import WorkerSettings
from tests.support.valkey import Valkey, valkey
from tests.support.workers import WorkerProcess, fleet

TIMES = 30
SPARE = 0.2
"""For each request, so much of a command may come of something else: a lease's script, a look again."""

BEATS_PER_S = 2
"""So many scripts of leases are run in a second, however much of it a request takes on a machine that is busy."""

TOGETHER = 30

SWITCHES_MAX = 30
"""So often threads of the worker go to sleep for one commit: about 15 times, and more where nothing else runs."""

COMMIT = {
    "multi": 1,  # the client: push and count, in one transaction
    "lpush": 1,
    "eval": 1,
    "exec": 1,
    "evalsha": 3,  # the worker: pop, started, finish
    "set": 3,  # the number of the last delivery; the record: started, done
    "sadd": 1,  # that it was executed
}
READ = {**COMMIT, "sadd": 0}

WITHIN = frozenset(
    (
        *(
            "del",
            "exists",
            "expire",
            "getrange",
            "hdel",
            "hget",
            "hincrby",
            "hlen",
            "hset",
            "incrby",
            "lindex",
        ),
        *(
            "llen",
            "ltrim",
            "publish",
            "time",
            "ttl",
            "type",
            "zadd",
            "zrange",
            "zrangebyscore",
            "zremrangebyscore",
        ),
    )
)
"""What those scripts do, and those of leases, which come with time: nobody waits for these."""

OF_CONNECTIONS = ("client|", "script|", "hello", "info")
"""How commands begin that come with a new connection, or with who counts."""


class Spent(Protocol):
    """Counts the commands for each of so many requests, one after the other, and how many ``seconds`` each took."""

    def __call__(self, ask: Callable[[int], object], times: int = TIMES) -> dict[str, float]: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(scope="module")
def worker(server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """The only worker on the server."""
    folder: Path = tmp_path_factory.mktemp("worker")
    values = WorkerSettings(broker_url=server.url, result_url=server.url, shards=4, concurrency=2)
    argument = {"folder": str(folder), "delay_s": 0}
    with fleet(folder / "logs", values, "tests.support.real_service:real_service", argument) as workers:
        yield workers.start("w1")


@pytest.fixture(scope="module")
def repo(server: Valkey, worker: WorkerProcess) -> Iterator[MemoryRepo]:
    """A memory that is warm."""
    own = Settings(broker_url=server.url, result_url=server.url, shards=4)
    with MemoryRepos(settings=own) as repos:
        repo = repos.repo(org_id="acme", agent_id="ann")
        repo.create_repo({"a": "1\n"}).result(60)
        yield repo


@pytest.fixture
def spent(server: Valkey) -> Spent:
    def counted() -> Counter[str]:
        found = server.client().info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): of["calls"] for name, of in found.items()})

    def measure(ask: Callable[[int], object], times: int = TIMES) -> dict[str, float]:
        before, began_s = counted(), steady_clock()
        for number in range(times):
            ask(number)
        took = {"seconds": (steady_clock() - began_s) / times}
        return took | {name: calls / times for name, calls in (counted() - before).items()}

    return measure


def switches(pid: int) -> Counter[str]:
    """How often each thread of a process went to sleep by itself, and was stopped by another."""
    found: Counter[str] = Counter()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.endswith("ctxt_switches"):
                found[name.removesuffix("_ctxt_switches")] += int(value)
    return found


def over(spent: dict[str, float], allowed: dict[str, int]) -> dict[str, float]:
    spare = SPARE + BEATS_PER_S * spent["seconds"]
    asked = spent.keys() - WITHIN - {"seconds"}
    counted = [name for name in asked if not name.startswith(OF_CONNECTIONS)]
    return {name: spent[name] for name in counted if spent[name] > allowed.get(name, 0) + spare}


def test_a_commit_costs_three_scripts_of_the_worker_and_one_transaction_of_the_client(
    repo: MemoryRepo, spent: Spent
) -> None:
    commands = spent(lambda number: repo.commit({"a": f"{number}\n"}, "Learn").result(60))

    assert over(commands, COMMIT) == {}
    assert commands["evalsha"] >= 3  # and it is what was counted


def test_a_read_costs_no_more(repo: MemoryRepo, spent: Spent) -> None:
    commands = spent(lambda _: repo.get_head_sha().result(60))

    assert over(commands, READ) == {}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the kernel does not tell")
def test_a_commit_switches_threads_a_few_times(repo: MemoryRepo, worker: WorkerProcess) -> None:
    before = switches(worker.pid)
    for number in range(TIMES):
        repo.commit({"a": f"{number} and more\n"}, "Learn").result(60)
    spent = switches(worker.pid) - before

    assert 5 < spent["voluntary"] / TIMES < SWITCHES_MAX


def test_commits_that_wait_together_share_the_workers_scripts(
    repo: MemoryRepo, worker: WorkerProcess, spent: Spent
) -> None:
    def burst(_: int) -> None:
        worker.pause()
        jobs = [repo.commit({"b": f"{number}\n"}, "Learn") for number in range(TOGETHER)]
        for job in jobs:
            job.wait_enqueued()
        worker.resume()
        for job in jobs:
            job.result(60)

    commands = spent(burst, times=1)

    beats = BEATS_PER_S * commands["seconds"]
    assert commands["evalsha"] <= TOGETHER / 2 + beats  # one by one it would be three each
    assert commands["lpush"] == TOGETHER
