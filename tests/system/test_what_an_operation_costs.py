"""Counted, not timed: store requests and processes of one operation on a warm repository."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

import psutil
import pytest
from celery import Celery

from memrepo import MemoryRepo, MemoryRepos
from tests.support.suspended import suspended
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey

_NUMBERS = count(1)
REQUESTS = tuple(f"store.{verb}.requests" for verb in ("get", "put", "list", "delete"))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A worker of its own: what one that others use does later for what they did would be counted, too."""
    folder = tmp_path_factory.mktemp("counted")
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, (folder / "store").as_uri()) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def memories(system: System) -> Iterator[MemoryRepos]:
    with MemoryRepos(broker_url=system.broker_url) as repos:
        yield repos


@pytest.fixture
def counters(system: System) -> Iterator[Callable[[], Counter[str]]]:
    """The worker's own counters: at the store decorator and at the one door to processes."""
    with Celery(broker=system.broker_url, set_as_current=False) as celery:

        def read() -> Counter[str]:
            replies = celery.control.broadcast("memrepo_counters", reply=True, timeout=30, limit=1)
            (reply,) = replies[0].values()
            return Counter(reply)

        yield read


@pytest.fixture
def memory(memories: MemoryRepos) -> MemoryRepo:
    """A warm repository of a few files."""
    repo = memories.repo(org_id="acme", agent_id=f"counted-{next(_NUMBERS)}")
    repo.create_repo({f"file-{number}.md": f"{number}\n" for number in range(20)}).result(timeout_s=20)
    repo.commit({"human.md": "likes tea\n"}, "Learn").result(timeout_s=20)
    return repo


def cost(before: Counter[str], after: Counter[str]) -> dict[str, int]:
    spent = {name: after[name] - before[name] for name in (*REQUESTS, "process.started")}
    return {name: amount for name, amount in spent.items() if amount}


def test_a_warm_commit_is_one_put_and_no_process(
    system: System, memory: MemoryRepo, counters: Callable[[], Counter[str]]
) -> None:
    before = counters()
    children = psutil.Process(system.worker_pid).children(recursive=True)

    memory.commit({"human.md": "likes coffee\n", "file-3.md": None}, "Learn").result(timeout_s=20)

    assert cost(before, counters()) == {"store.put.requests": 1}
    assert psutil.Process(system.worker_pid).children(recursive=True) == children == []


def test_a_warm_read_asks_the_store_nothing_and_starts_no_process(
    system: System, memory: MemoryRepo, counters: Callable[[], Counter[str]]
) -> None:
    memory.get_files().result(timeout_s=20)
    before = counters()

    memory.get_files().result(timeout_s=20)
    memory.get_file("human.md").result(timeout_s=20)
    memory.list_files().result(timeout_s=20)
    memory.get_history().result(timeout_s=20)
    memory.get_head_sha().result(timeout_s=20)

    assert cost(before, counters()) == {}
    assert psutil.Process(system.worker_pid).children(recursive=True) == []


def test_commits_that_wait_share_one_put(
    system: System, memory: MemoryRepo, counters: Callable[[], Counter[str]]
) -> None:
    before = counters()

    with suspended(system.worker_pid):  # so that all are waiting when it goes on
        jobs = [memory.commit({"notes.md": f"{number}\n"}, f"Learn {number}") for number in range(21)]
    shas = [job.result(timeout_s=20).sha for job in jobs]

    assert len(set(shas)) == 21
    assert cost(before, counters())["store.put.requests"] <= 3  # a slow worker may take the first ones alone
    assert [commit.sha for commit in memory.get_history(limit=21).result(timeout_s=20)] == shas[::-1]
