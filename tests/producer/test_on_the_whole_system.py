"""The client against a worker as users run it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, JobCancelledError, MemoryRepos, Settings
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, f"file://{folder / 'store'}") as running,
    ):
        yield running


def test_a_thousand_commits_that_nobody_awaits_are_in_history_in_call_order(system: System) -> None:
    async def fire_and_forget() -> list[str]:
        settings = Settings(system.broker_url, system.broker_url, enqueue_timeout_s=60)
        async with AsyncMemoryRepos(settings=settings) as repos:
            repo = repos.repo(org_id="acme", agent_id="busy")
            repo.create_repo()
            for number in range(1000):
                repo.commit({"number.txt": str(number)}, f"commit {number}")
            return [commit.message for commit in await repo.get_history(limit=1000)]

    messages = asyncio.run(fire_and_forget())

    assert messages == [f"commit {number}" for number in reversed(range(1000))]


def test_a_result_is_found_by_its_id_from_another_process(system: System) -> None:
    with MemoryRepos(broker_url=system.broker_url) as repos:
        job = repos.repo(org_id="acme", agent_id="found").create_repo({"a": "1"})
        made = job.result(timeout_s=30)

    with MemoryRepos(broker_url=system.broker_url) as elsewhere:
        assert elsewhere.job(job.id).result(timeout_s=30) == made


def test_the_same_request_sent_twice_is_applied_once(system: System) -> None:
    with MemoryRepos(broker_url=system.broker_url) as repos:
        repo = repos.repo(org_id="acme", agent_id="twice")
        repo.create_repo()
        jobs = [repo.commit({"a": "1"}, "once", request_id="the-same-request") for _ in range(2)]

        assert jobs[0].result(timeout_s=30) == jobs[1].result(timeout_s=30)
        assert len(repo.get_history().result(timeout_s=30)) == 2


def test_a_cancelled_job_is_not_executed_by_a_worker_that_comes_later(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as broker, MemoryRepos(broker_url=broker.url) as repos:
        repo = repos.repo(org_id="acme", agent_id="cancelled")
        made = repo.create_repo()
        unwanted = repo.commit({"a": "unwanted"}, "unwanted")
        wanted = repo.commit({"b": "wanted"}, "wanted")
        unwanted.cancel()

        with running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}"):
            wanted.result(timeout_s=30)
            messages = [commit.message for commit in repo.get_history().result(timeout_s=30)]

        assert made.done()
        assert messages == ["wanted", "Initial commit"]
        with pytest.raises(JobCancelledError):
            unwanted.result(timeout_s=1)
