"""A job that failed, or was given up, is told in one line of the log, unless somebody looked at it."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from memrepo import (
    AsyncMemoryRepos,
    BrokerUnavailableError,
    HeadMovedError,
    Job,
    MemoryRepoError,
    MemoryRepos,
    PathNotFoundError,
    RepoNotFoundError,
    Settings,
)
from memrepo.jobs import unseen
from memrepo.jobs.pending import Pending
from memrepo.routing import route, shard_of
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY
from tests.producer.stand_in import SHA, StandIn
from tests.support.ports import LOOPBACK, closed_port
from tests.support.systems import System
from tests.support.valkey import Valkey
from tests.support.waiting import given_time, wait_for

NAME = {"org_id": "acme", "agent_id": "agent-1"}


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """The warnings so far, once the objects that nobody holds are gone."""

    def messages() -> list[str]:
        gc.collect()
        return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]

    with caplog.at_level(logging.WARNING, "memrepo"):
        yield messages


def failing(worker: StandIn, error: MemoryRepoError | None = None) -> None:
    worker.answer = lambda _: error or RepoNotFoundError("no memory")


def ended(job: Job[object]) -> Job[object]:
    """Wait for its end without looking at what became of it."""
    wait_for(job.done, "the end")
    return job


def error_of(job: Job[object]) -> MemoryRepoError:
    with pytest.raises(MemoryRepoError) as caught:
        job.result(timeout_s=5)
    return caught.value


class TestAFailure:
    def test_is_told_when_its_job_is_gone(
        self, worker: StandIn, repos: MemoryRepos, logged: Callable[[], list[str]]
    ) -> None:
        failing(worker)
        job = ended(repos.repo(**NAME).commit({"a": "1"}, "m"))
        job_id = job.id
        assert logged() == []

        del job

        (line,) = logged()
        assert line == (
            f"job {job_id} (commit of acme/agent-1) failed, and nobody looked at it: RepoNotFoundError. The agent has "
            "no memory yet. Call create_repo or commit with create_repo_if_missing=True. "
            f'More is told by repos.job("{job_id}").result().'
        )
        with pytest.raises(RepoNotFoundError, match="no memory"):
            repos.job(job_id).result(timeout_s=5)

    def test_is_told_when_it_comes_after_its_job_was_let_go(
        self, worker: StandIn, repos: MemoryRepos, logged: Callable[[], list[str]]
    ) -> None:
        failing(worker)

        repos.repo(**NAME).get_head_sha()

        wait_for(logged, "a warning")
        assert len(logged()) == 1

    def test_is_told_without_what_its_message_holds(
        self, worker: StandIn, repos: MemoryRepos, logged: Callable[[], list[str]]
    ) -> None:
        failing(worker, PathNotFoundError("no secret-diary.md\nat main", {"path": "secret-diary.md"}))

        repos.repo(**NAME).get_file("secret-diary.md")

        wait_for(logged, "a warning")
        assert "secret" not in "".join(logged())
        assert "\n" not in "".join(logged())

    def test_is_told_where_its_job_was_only_waited_for(
        self, worker: StandIn, repos: MemoryRepos, logged: Callable[[], list[str]]
    ) -> None:
        failing(worker)

        repos.wait([repos.repo(**NAME).get_head_sha()], timeout_s=5)

        assert len(logged()) == 1

    def test_is_told_where_somebody_else_cancelled_the_job(
        self, broker: Valkey, repos: MemoryRepos, logged: Callable[[], list[str]]
    ) -> None:
        job = repos.repo(**NAME).get_head_sha()
        with MemoryRepos(broker_url=broker.url) as elsewhere:
            elsewhere.job(job.id).cancel()
        ended(job)
        del job

        (line,) = logged()
        assert "JobCancelledError" in line

    def test_of_a_job_that_another_client_sent_is_not_ours_to_tell(
        self, worker: StandIn, repos: MemoryRepos, broker: Valkey, logged: Callable[[], list[str]]
    ) -> None:
        failing(worker)
        job = ended(repos.repo(**NAME).get_head_sha())
        job.status()
        with MemoryRepos(broker_url=broker.url) as elsewhere:
            found = elsewhere.job(job.id)
            elsewhere.wait([found], timeout_s=10)
            ended(found)
            del found

            assert logged() == []

    @pytest.mark.parametrize(
        "look",
        [
            pytest.param(lambda repos, job: job.status(), id="status"),
            pytest.param(lambda repos, job: job.describe(), id="describe"),
            pytest.param(lambda repos, job: error_of(job), id="result"),
            pytest.param(lambda repos, job: job.future.exception(), id="future"),
            pytest.param(lambda repos, job: repos.job(job.id), id="found by its id"),
        ],
    )
    def test_is_not_told_where_somebody_looked(
        self,
        look: Callable[[MemoryRepos, Job[object]], object],
        worker: StandIn,
        repos: MemoryRepos,
        logged: Callable[[], list[str]],
    ) -> None:
        failing(worker)
        job = ended(repos.repo(**NAME).get_head_sha())

        look(repos, job)
        del job

        assert logged() == []

    @pytest.mark.parametrize(
        "look",
        [
            pytest.param(lambda repos, job: job.cancel(), id="cancelled"),
            pytest.param(lambda repos, job: job.future, id="future"),
            pytest.param(lambda repos, job: repos.job(job.id), id="found by its id"),
        ],
    )
    def test_is_not_told_where_somebody_took_it_over_before(
        self,
        look: Callable[[MemoryRepos, Job[object]], object],
        worker: StandIn,
        repos: MemoryRepos,
        logged: Callable[[], list[str]],
    ) -> None:
        worker.answer = lambda _: None
        job = repos.repo(**NAME).get_head_sha()
        (taken,) = worker.wait_taken(1)

        look(repos, job)
        worker.settle(taken, RepoNotFoundError("no memory"))
        ended(job)
        del job

        assert logged() == []


@pytest.mark.parametrize("wait", ["await", "wait"])
def test_with_asyncio_a_failure_is_told_unless_it_was_awaited(
    wait: str, broker: Valkey, worker: StandIn, logged: Callable[[], list[str]]
) -> None:
    failing(worker)

    async def main() -> list[str]:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            repo = repos.repo(**NAME)
            awaited, left = repo.get_head_sha(), repo.get_head_sha()
            with pytest.raises(RepoNotFoundError):
                await (awaited if wait == "await" else awaited.wait(timeout_s=5))
            await asyncio.to_thread(wait_for, left.done, "the end")
            return [awaited.id, left.id]

    awaited_id, left_id = asyncio.run(main())

    (line,) = logged()
    assert left_id in line
    assert awaited_id not in line


def test_with_asyncio_waiting_for_many_jobs_is_no_look_at_one(
    broker: Valkey, worker: StandIn, logged: Callable[[], list[str]]
) -> None:
    failing(worker)

    async def main() -> None:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            await repos.wait([repos.repo(**NAME).get_head_sha()], timeout_s=5)

    asyncio.run(main())

    assert len(logged()) == 1


class TestWhatTheBrokerDoesNotTake:
    @pytest.fixture
    def away(self) -> Settings:
        url = f"redis://{LOOPBACK}:{closed_port()}/0"
        return Settings(url, url, enqueue_timeout_s=1.0)

    def test_is_told_with_the_reason(
        self, away: Settings, caplog: pytest.LogCaptureFixture, logged: Callable[[], list[str]]
    ) -> None:
        async def main(limit_s: float) -> None:
            async with AsyncMemoryRepos(settings=replace(away, enqueue_timeout_s=limit_s)) as repos:
                for _ in range(3):
                    repos.repo(**NAME).commit({"a": "1"}, "m", request_id="my-own-id-1")

        def it_is_told(limit_s: float) -> None:
            caplog.clear()
            asyncio.run(main(limit_s))

            assert len(logged()) == 3
            for line in logged():
                assert (
                    "(commit of acme/agent-1) was not sent, and nobody looked at it: BrokerUnavailableError: "
                    in line
                )
                assert "Connection refused" in line
                assert "my-own-id-1" in line

        given_time(it_is_told)

    def test_is_not_told_where_the_caller_was(self, away: Settings, logged: Callable[[], list[str]]) -> None:
        async def main() -> None:
            async with AsyncMemoryRepos(settings=away) as repos:
                with pytest.raises(BrokerUnavailableError):
                    await repos.repo(**NAME).get_head_sha().enqueued()

        asyncio.run(main())
        with MemoryRepos(settings=away) as repos, pytest.raises(BrokerUnavailableError):
            repos.repo(**NAME).get_head_sha()

        assert logged() == []

    def test_is_one_line_for_all_where_closing_cannot_wait_for_it(
        self, monkeypatch: pytest.MonkeyPatch, broker: Valkey, logged: Callable[[], list[str]]
    ) -> None:
        resolved, resolve = threading.Event(), socket.getaddrinfo

        def stuck(host: str, *args: Any, **options: Any) -> Any:
            if host == "broker.example":
                resolved.wait(20)
                raise socket.gaierror("no answer")
            return resolve(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", stuck)
        settings = Settings("redis://broker.example/0", broker.url, enqueue_timeout_s=0.3)

        async def main() -> list[Job[str]]:
            async with AsyncMemoryRepos(settings=settings) as repos:
                return [repos.repo(**NAME).get_head_sha() for _ in range(12)]

        try:
            jobs = asyncio.run(main())
        finally:
            resolved.set()

        (line,) = logged()
        assert line.startswith(
            "closed before the broker at redis://broker.example:6379/0 took 12 requests: job "
        )
        assert jobs[0].id in line
        assert line.endswith(", and 2 more")
        with pytest.raises(BrokerUnavailableError, match="closed before the broker"):
            asyncio.run(jobs[0].wait())


def test_jobs_that_nobody_keeps_take_no_memory(broker: Valkey, worker: StandIn) -> None:
    def jobs() -> list[object]:
        gc.collect()
        return [one for one in gc.get_objects() if isinstance(one, Pending | Job)]

    others = jobs()  # of tests before this one; kept, so that no new one has the place of an old one
    known = set(map(id, others))

    def count() -> int:
        return sum(id(one) not in known for one in jobs())

    async def main() -> None:
        async with AsyncMemoryRepos(settings=Settings(broker.url, broker.url, poll_interval_s=0.05)) as repos:
            repo = repos.repo(**NAME)
            for _ in range(6):
                for _ in range(100):
                    repo.get_head_sha()
                await repo.get_head_sha()
            await asyncio.to_thread(wait_for, lambda: count() < 10, "all to be forgotten")

    asyncio.run(main())
    assert unseen._unseen == {}


class TestClosing:
    def test_hears_of_what_fails_at_once(self, system: System, logged: Callable[[], list[str]]) -> None:
        async def main() -> None:
            async with AsyncMemoryRepos(broker_url=system.broker_url) as repos:
                repos.repo(org_id="acme", agent_id="nobody").commit({"a": "1"}, "m")

        asyncio.run(main())
        with MemoryRepos(broker_url=system.broker_url) as repos:
            repos.repo(org_id="acme", agent_id="nobody").commit({"a": "1"}, "m")

        assert [line.partition("nobody looked at it: ")[2].split(".")[0] for line in logged()] == [
            "RepoNotFoundError",
            "RepoNotFoundError",
        ]

    def test_does_not_wait_where_no_worker_serves(self, broker: Valkey) -> None:
        began = time.monotonic()
        with MemoryRepos(settings=Settings(broker.url, broker.url, poll_interval_s=30)) as repos:
            repos.repo(**NAME).get_head_sha()

        assert time.monotonic() - began < 15

    def test_does_not_wait_for_what_somebody_has_waited_for(self, broker: Valkey) -> None:
        with broker.client() as client:
            shard = str(shard_of("acme", "agent-1"))
            client.hset(OWNERS_KEY, shard, "token some-worker")
            client.zadd(LEASES_KEY, {shard: (time.time() + 60) * 1000})
        began = time.monotonic()
        with MemoryRepos(settings=Settings(broker.url, broker.url, poll_interval_s=30)) as repos:
            job = repos.repo(**NAME).get_head_sha()
            with pytest.raises(TimeoutError):
                job.result(timeout_s=0.01)

        assert time.monotonic() - began < 15


class TestAClientThatNobodyCloses:
    def test_is_a_resource_warning_and_ends_once_its_jobs_have(
        self, broker: Valkey, worker: StandIn, logged: Callable[[], list[str]]
    ) -> None:
        worker.answer = lambda _: None
        before = threads()
        repos = AsyncMemoryRepos(broker_url=broker.url)
        for _ in range(20):
            repos.repo(**NAME).get_head_sha()

        held = [repos]
        del repos
        with pytest.warns(
            ResourceWarning, match=f"unclosed AsyncMemoryRepos of {broker.url}: use it as a context"
        ):
            held.clear()

        for taken in worker.wait_taken(20):
            worker.settle(taken, HeadMovedError("moved"))
        wait_for(lambda: threads() <= before, "the threads to end")
        assert len(logged()) == 20

    def test_is_none_where_it_was_closed_or_never_used(self, broker: Valkey, worker: StandIn) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            unused = MemoryRepos(broker_url=broker.url)
            closed = MemoryRepos(broker_url=broker.url)
            assert closed.repo(**NAME).get_head_sha().result(timeout_s=30) == SHA
            closed.close()
            del unused, closed
            gc.collect()

    def test_works_on_as_long_as_one_of_its_memories_is_in_use(self, broker: Valkey, worker: StandIn) -> None:
        held = [MemoryRepos(broker_url=broker.url).repo(**NAME)]
        gc.collect()

        assert held[0].get_head_sha().result(timeout_s=30) == SHA
        with pytest.warns(ResourceWarning):
            held.clear()


def threads() -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith("memrepo")}


def test_the_route_is_the_one_that_the_tests_above_take() -> None:
    assert route("acme", "agent-1").endswith(f"{shard_of('acme', 'agent-1'):03d}")
