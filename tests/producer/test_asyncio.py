from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any

import pytest

from memrepo import (
    AsyncMemoryRepos,
    BrokerUnavailableError,
    HeadMovedError,
    InvalidRequestError,
    JobCancelledError,
    JobTimeoutError,
    MemoryRepoBusyError,
    MemoryRepoError,
    MemoryRepos,
    Settings,
)
from tests.producer.loop_guard import loop_guard
from tests.producer.stand_in import SHA, StandIn, Taken
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

CONNECTIONS_MAX = 10


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@asynccontextmanager
async def a_client(broker: Valkey, **values: Any) -> AsyncIterator[AsyncMemoryRepos]:
    patient = {"enqueue_timeout_s": 20.0, **values}  # however busy the machine is
    async with AsyncMemoryRepos(settings=Settings(broker.url, broker.url, **patient)) as repos:
        yield repos


async def until(condition: Callable[[], object], what: str) -> None:
    await asyncio.to_thread(wait_for, condition, what)


@on_a_loop
async def test_a_job_is_awaited_for_its_result(broker: Valkey, worker: StandIn) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()

        assert await job == SHA
        assert await job == SHA
        assert job.done()
        assert job.status() == "done"


@on_a_loop
async def test_an_error_is_raised_by_the_await(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: HeadMovedError("moved", {"head": SHA})
    async with a_client(broker) as repos:
        with pytest.raises(HeadMovedError, match="moved"):
            await repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()


@on_a_loop
async def test_bad_input_is_refused_by_the_call_itself(broker: Valkey) -> None:
    async with a_client(broker) as repos:
        with pytest.raises(InvalidRequestError, match=r"changes\[0\].path"):
            repos.repo(org_id="acme", agent_id="agent-1").commit({".git/config": "x"}, "m")


@on_a_loop
async def test_calls_are_enqueued_in_call_order_without_an_await_between_them(broker: Valkey) -> None:
    async with a_client(broker) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        jobs = [repo.commit({"n": str(number)}, "m") for number in range(1000)]

    with StandIn(broker, lambda _: None) as worker:
        await until(lambda: len(worker.taken) >= 1000, "1,000 messages")
    assert [taken.id for taken in worker.taken] == [job.id for job in jobs]


@on_a_loop
async def test_a_thousand_awaits_share_a_handful_of_connections(broker: Valkey, worker: StandIn) -> None:
    with broker.client() as admin:
        before = {one["id"] for one in admin.client_list()}  # of which some may end meanwhile
        async with a_client(broker) as repos:
            jobs = [
                repos.repo(org_id="acme", agent_id=f"agent-{number}").get_head_sha() for number in range(1000)
            ]

            results = await asyncio.gather(*jobs)

            opened = {one["id"] for one in admin.client_list()} - before
    assert results == [SHA] * 1000
    assert 0 < len(opened) <= CONNECTIONS_MAX


def test_nothing_blocks_the_loop(broker: Valkey, worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.answer = lambda taken: None if taken.request.get("branch") == "silent" else SHA

    async def everything() -> None:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            repo = repos.repo(org_id="acme", agent_id="agent-1")
            assert await asyncio.gather(*[repo.get_head_sha() for _ in range(50)]) == [SHA] * 50
            job = repo.get_head_sha("silent")
            await job.enqueued()
            job.status(), job.done()
            job.cancel()
            with pytest.raises(JobCancelledError):
                await job
            found = repos.job(job.id)
            found.status()
            with pytest.raises(JobCancelledError):
                await found
            repo.get_head_sha("silent").cancel()
            await repos.wait([repo.get_head_sha() for _ in range(5)])
            with pytest.raises(MemoryRepoError, match="await job"):
                repo.get_head_sha("silent").result(timeout_s=1)

    async def guarded() -> list[str]:
        with loop_guard(monkeypatch) as blocked:
            await everything()
        return blocked

    assert asyncio.run(guarded()) == []


def test_the_guard_sees_what_blocks(broker: Valkey, worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wrongly() -> None:
        with MemoryRepos(broker_url=broker.url) as repos:
            repos.repo(org_id="acme", agent_id="agent-1").get_head_sha().result(timeout_s=30)

    with loop_guard(monkeypatch) as blocked:
        asyncio.run(wrongly())
    assert any(call.startswith("Condition.wait") for call in blocked)


@on_a_loop
async def test_cancelling_an_await_leaves_the_job_running(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: None
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        waiting = asyncio.ensure_future(job.wait())
        await until(lambda: worker.taken, "the message")

        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await job
        assert not job.done()

        worker.settle(worker.taken[0], SHA)
        assert await job == SHA


@on_a_loop
async def test_an_error_that_comes_after_the_await_was_cancelled_is_no_noise(
    broker: Valkey, worker: StandIn
) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    worker.answer = lambda _: None
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        await job.enqueued()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await job
        await until(lambda: worker.taken, "the message")
        worker.settle(worker.taken[0], HeadMovedError("moved"))
        await until(job.done, "the error")
        await asyncio.sleep(0.01)  # a turn for what the loop was told meanwhile
    del job, repos
    gc.collect()

    assert complaints == []


@on_a_loop
async def test_leaving_the_block_sends_what_waits(broker: Valkey) -> None:
    async with a_client(broker) as repos:
        jobs = [repos.repo(org_id="acme", agent_id="a").get_head_sha() for _ in range(200)]

    with StandIn(broker, lambda _: None) as worker:
        await until(lambda: len(worker.taken) >= len(jobs), "all messages")


@on_a_loop
async def test_enqueued_returns_when_the_broker_holds_the_request(broker: Valkey) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()

        await job.enqueued()

        assert len(broker.client().keys("memrepo.*")) == 1
        assert job.status() == "queued"


@on_a_loop
async def test_a_queue_that_is_too_deep_is_told_by_the_job(broker: Valkey) -> None:
    async with a_client(broker, shard_depth_max=2) as repos:
        repo = repos.repo(org_id="acme", agent_id="a")
        jobs = [repo.get_head_sha() for _ in range(3)]

        with pytest.raises(MemoryRepoBusyError):
            await jobs[2].enqueued()
        with pytest.raises(MemoryRepoBusyError):
            await jobs[2]
        assert jobs[2].status() == "failed"


@on_a_loop
async def test_a_broker_that_is_down_is_told_within_the_promised_time() -> None:
    url = f"redis://{LOOPBACK}:{closed_port()}/0"
    async with AsyncMemoryRepos(broker_url=url) as repos:
        for _ in range(3):  # a machine that is busy at that moment decides nothing
            began = time.monotonic()
            job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
            with pytest.raises(BrokerUnavailableError):
                await job.enqueued()
            if (took_s := time.monotonic() - began) < 5.0:
                break
        assert took_s < 5.0
        with pytest.raises(BrokerUnavailableError):
            await job
        assert job.status() == "failed"


@on_a_loop
async def test_a_broker_that_restarts_loses_no_job(tmp_path: Path) -> None:
    with valkey(tmp_path, fsync="always") as server, StandIn(server) as worker:
        async with a_client(server, enqueue_timeout_s=20.0) as repos:
            repo = repos.repo(org_id="acme", agent_id="a")
            jobs = []
            for number in range(60):
                if number == 20:
                    await asyncio.to_thread(server.kill)
                if number == 40:
                    await asyncio.to_thread(server.start)
                jobs.append(repo.get_head_sha())
                await asyncio.sleep(0)

            async with asyncio.timeout(30):
                assert await asyncio.gather(*jobs) == [SHA] * 60
    assert {taken.id for taken in worker.taken} == {job.id for job in jobs}


@on_a_loop
async def test_waiting_for_many_jobs_reports_progress(broker: Valkey, worker: StandIn) -> None:
    def answer(taken: Taken) -> object:
        return MemoryRepoError("no") if taken.request.get("branch") == "bad" else SHA

    worker.answer = answer
    async with a_client(broker) as repos:
        repo = repos.repo(org_id="acme", agent_id="a")
        jobs = [repo.get_head_sha("bad" if number == 3 else "main") for number in range(10)]
        progress: list[tuple[int, int]] = []

        await repos.wait(jobs, timeout_s=10, on_progress=lambda ended, of: progress.append((ended, of)))

    assert progress == [(ended, 10) for ended in range(11)]


@on_a_loop
async def test_waiting_longer_than_allowed_leaves_the_jobs_running(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: None
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        with pytest.raises(JobTimeoutError, match=f"{job.id} has not ended within 0.05 s"):
            await repos.wait([job], timeout_s=0.05)
        with pytest.raises(JobTimeoutError, match=f"{job.id} has not ended within 0.05 s"):
            await job.wait(timeout_s=0.05)

        await until(lambda: worker.taken, "the message")
        worker.settle(worker.taken[0], SHA)
        assert await job == SHA


@on_a_loop
async def test_a_job_of_another_client_is_awaited_by_its_id(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: None
    async with a_client(broker) as repos, a_client(broker) as elsewhere:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        await until(lambda: worker.taken, "the message")
        found = elsewhere.job(job.id)
        later = threading.Timer(0.2, worker.settle, (worker.taken[0], SHA))
        later.start()

        assert await found == SHA
        later.join()


@on_a_loop
async def test_two_handles_of_one_job_are_waited_for_together(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: None
    progress: list[int] = []
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        await until(lambda: worker.taken, "the message")
        waiting = asyncio.ensure_future(
            repos.wait([job, repos.job(job.id)], on_progress=lambda ended, _: progress.append(ended))
        )
        await asyncio.sleep(0)  # it listens now

        worker.settle(worker.taken[0], SHA)

        async with asyncio.timeout(60):  # it would not end
            await waiting
    assert progress == [0, 1, 2]


@on_a_loop
async def test_waiting_no_time_for_what_has_ended_returns(broker: Valkey, worker: StandIn) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        await job
        progress: list[tuple[int, int]] = []

        await repos.wait([job, job], timeout_s=0, on_progress=lambda ended, of: progress.append((ended, of)))

        assert progress == [(0, 1), (1, 1)]


@on_a_loop
async def test_a_job_is_waited_for_in_hundreds_of_short_waits(broker: Valkey, worker: StandIn) -> None:
    async with a_client(broker) as repos:
        repo = repos.repo(org_id="acme", agent_id="a")
        for _ in range(300):
            job = repo.get_head_sha()
            with suppress(JobTimeoutError):
                await repos.wait([job], timeout_s=Random(job.id).uniform(0.0015, 0.0045))


@on_a_loop
async def test_what_on_progress_raises_is_the_callers(broker: Valkey, worker: StandIn) -> None:
    def stop(ended: int, _: int) -> None:
        if ended:
            raise TimeoutError("enough")

    async with a_client(broker) as repos:
        with pytest.raises(TimeoutError, match="enough"):
            await repos.wait(
                [repos.repo(org_id="acme", agent_id="a").get_head_sha()], timeout_s=10, on_progress=stop
            )


def coroutines_holding(job: object) -> int:
    return sum(inspect.iscoroutine(one) for one in gc.get_referrers(job))


@on_a_loop
async def test_waiting_again_and_again_for_a_job_that_goes_on_takes_no_memory(
    broker: Valkey, worker: StandIn
) -> None:
    worker.answer = lambda _: None
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        await job.enqueued()
        holding = coroutines_holding(job)  # from Python 3.14 on this test's own one, too
        for _ in range(50):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await job

        assert coroutines_holding(job) == holding
        assert job.future._done_callbacks == []  # type: ignore[attr-defined]


@on_a_loop
async def test_an_error_is_a_new_one_each_time_so_that_its_traceback_does_not_grow(
    broker: Valkey, worker: StandIn
) -> None:
    worker.answer = lambda _: HeadMovedError("moved", {"head": SHA})
    errors = []
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="a").get_head_sha()
        for _ in range(20):
            with pytest.raises(HeadMovedError) as caught:
                await job
            errors.append(caught.value)

    assert len({id(one) for one in errors}) == 20
    assert len({len(traceback.extract_tb(one.__traceback__)) for one in errors[1:]}) == 1


def test_a_job_awaited_elsewhere_than_on_asyncio_says_what_to_use(broker: Valkey, worker: StandIn) -> None:
    repos = AsyncMemoryRepos(broker_url=broker.url)
    job = repos.repo(org_id="acme", agent_id="a").get_head_sha()

    async def run_as_trio_does() -> None:
        await job

    for waiting in (run_as_trio_does(), repos.wait([job]), repos.__aenter__(), repos.close()):
        with pytest.raises(MemoryRepoError, match=r"trio\.to_thread\.run_sync\(job\.result\)"):
            waiting.send(None)

    asyncio.run(repos.close())


@on_a_loop
async def test_a_cancel_that_finds_the_result_store_away_is_done_when_it_answers(tmp_path: Path) -> None:
    with valkey(tmp_path) as server:
        async with a_client(server, connect_timeout_s=0.5) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
            await job.enqueued()
            server.kill()

            job.cancel()
            await asyncio.sleep(0)
            server.start()

            with pytest.raises(JobCancelledError):
                await job


@on_a_loop
async def test_a_cancel_reaches_the_record_before_its_client_is_gone(broker: Valkey) -> None:
    async with a_client(broker) as repos:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        await job.enqueued()
        job.cancel()

    assert '"REVOKED"' in str(broker.client().get(f"celery-task-meta-{job.id}"))


@on_a_loop
async def test_a_cancel_that_never_reached_the_record_is_said_to_be_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with valkey(tmp_path) as server:
        async with a_client(server, connect_timeout_s=0.5) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
            await job.enqueued()
            server.kill()
            job.cancel()

    assert f"job {job.id} was not cancelled" in caplog.text


@on_a_loop
async def test_waiting_for_many_jobs_takes_no_task_for_each(broker: Valkey, worker: StandIn) -> None:
    worker.answer = lambda _: None
    async with a_client(broker) as repos:
        jobs = [repos.repo(org_id="acme", agent_id="a").get_head_sha() for _ in range(100)]
        before = len(asyncio.all_tasks())
        waiting = asyncio.ensure_future(repos.wait(jobs))
        await until(lambda: len(worker.taken) == len(jobs), "the messages")

        assert len(asyncio.all_tasks()) - before <= 2

        worker.settle(worker.taken[-1], SHA)
        assert await jobs[-1] == SHA
        assert not waiting.done()
        for taken in worker.taken[:-1]:
            worker.settle(taken, SHA)
        await waiting
        assert all(job.done() for job in jobs)


@on_a_loop
async def test_waiting_for_jobs_that_are_not_sent_ends_when_their_time_is_over() -> None:
    url = f"redis://{LOOPBACK}:{closed_port()}/0"
    async with AsyncMemoryRepos(settings=Settings(url, url, enqueue_timeout_s=0.5)) as repos:
        jobs = [repos.repo(org_id="acme", agent_id="a").get_head_sha() for _ in range(20)]
        async with asyncio.timeout(30):
            await repos.wait(jobs)

        assert {job.status() for job in jobs} == {"failed"}
        for job in jobs:
            with pytest.raises(BrokerUnavailableError):
                await job


@on_a_loop
async def test_what_was_not_sent_is_not_told_again_where_somebody_waited_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = f"redis://{LOOPBACK}:{closed_port()}/0"
    async with AsyncMemoryRepos(settings=Settings(url, url, enqueue_timeout_s=0.2)) as repos:
        await repos.wait([repos.repo(org_id="acme", agent_id="a").get_head_sha()])

    assert "was not sent, and nobody looked at it" not in caplog.text
