from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo import AsyncMemoryRepos, HeadMovedError, Job, JobState, JobTimeoutError, MemoryRepo, MemoryRepos
from memrepo.cli.main import main
from memrepo.routing import shard_of
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY
from tests.producer.stand_in import SHA, StandIn, failure
from tests.support.systems import running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import given_time, wait_for

NAME = {"org_id": "acme", "agent_id": "agent-1"}
SHARD = shard_of("acme", "agent-1")


def own_the_shard(broker: Valkey, lease_s: float = 60.0) -> None:
    """Have it look as if a worker served the agent's queue, as its heartbeat does."""
    with broker.client() as client:
        client.hset(OWNERS_KEY, str(SHARD), "token some-worker")
        client.zadd(LEASES_KEY, {str(SHARD): (time.time() + lease_s) * 1000})


def retry_for(reason: str, since_s: object = None) -> dict[str, object]:
    return {"exc_type": "StoreUnavailableError", "exc_message": [reason, {"since": since_s}]}


class TestTheSynchronousClient:
    def test_a_job_that_no_worker_serves_says_so(self, broker: Valkey, repo: MemoryRepo) -> None:
        before = datetime.now(UTC)
        job = repo.get_head_sha()

        state = job.describe()

        assert (state.status, state.reason, state.served) == ("queued", "no worker serves its queue", False)
        assert state.since is not None
        assert before <= state.since <= datetime.now(UTC)
        assert str(state) == "queued, no worker serves its queue"

    def test_a_job_whose_worker_has_not_begun_says_so(self, broker: Valkey, repo: MemoryRepo) -> None:
        own_the_shard(broker)

        state = repo.get_head_sha().describe()

        assert (state.status, state.served) == ("queued", True)
        assert state.reason == "no worker has begun; one serves its queue"

    def test_a_worker_whose_lease_is_over_serves_nothing(self, broker: Valkey, repo: MemoryRepo) -> None:
        own_the_shard(broker, lease_s=-1)

        assert repo.get_head_sha().describe().served is False

    def test_a_job_that_runs_says_when_its_worker_is_gone(
        self, broker: Valkey, worker: StandIn, repo: MemoryRepo
    ) -> None:
        worker.answer = lambda _: None
        own_the_shard(broker)
        job = repo.get_head_sha()
        worker.wait_taken(1)
        worker.store(job.id, "STARTED", {"hostname": "some-worker"})

        assert job.describe().reason == "a worker is at it"
        own_the_shard(broker, lease_s=-1)
        assert job.describe().reason == "a worker is at it, but no worker serves its queue now"

    def test_a_job_that_waits_for_the_store_says_what_the_store_said_and_since_when(
        self, worker: StandIn, repo: MemoryRepo
    ) -> None:
        worker.answer = lambda _: None
        job = repo.get_head_sha()
        worker.wait_taken(1)
        worker.store(
            job.id, "RETRY", retry_for("store.example:443 does not answer: ECONNREFUSED", 1_800_000_000.5)
        )

        state = job.describe()

        assert state.status == "retrying"
        assert state.reason.startswith("store.example:443 does not answer: ECONNREFUSED")
        assert state.since == datetime(2027, 1, 15, 8, 0, 0, 500_000, UTC)

    @pytest.mark.parametrize("since", [None, "yesterday", -1, 1e300, float("nan"), True, [[]]])
    def test_a_record_that_says_no_time_leaves_it_to_when_the_client_heard_of_it(
        self, since: object, worker: StandIn, repo: MemoryRepo
    ) -> None:
        worker.answer = lambda _: None
        before = datetime.now(UTC)
        job = repo.get_head_sha()
        worker.wait_taken(1)
        worker.store(job.id, "RETRY", retry_for("the store is away", since))

        state = job.describe()

        assert state.since is not None
        assert before <= state.since <= datetime.now(UTC)

    def test_a_job_that_has_ended_says_how(self, worker: StandIn, repo: MemoryRepo) -> None:
        done = repo.get_head_sha()
        done.result(timeout_s=30)
        worker.answer = lambda _: HeadMovedError("moved to elsewhere")
        failed = repo.get_head_sha()
        wait_for(failed.done, "the failure")

        assert (done.describe().status, done.describe().reason) == ("done", "")
        assert (failed.describe().status, failed.describe().reason) == ("failed", "moved to elsewhere")
        assert failed.describe().served is None

    def test_a_job_that_another_client_sent_tells_what_its_record_says(
        self, worker: StandIn, repo: MemoryRepo, repos: MemoryRepos, broker: Valkey
    ) -> None:
        worker.answer = lambda _: None
        job = repo.get_head_sha()
        worker.wait_taken(1)
        with MemoryRepos(broker_url=broker.url) as elsewhere:
            unknown = elsewhere.job(job.id).describe()
            worker.store(job.id, "RETRY", retry_for("the store is away", 0))
            retrying = elsewhere.job(job.id).describe()

        assert (unknown.status, unknown.since, unknown.served) == ("unknown", None, None)
        assert unknown.reason.startswith("it has no record: it may wait in its queue for a worker")
        assert retrying == JobState("retrying", "the store is away", datetime(1970, 1, 1, tzinfo=UTC), None)


def by_result(repos: MemoryRepos, job: Job[str], limit_s: float) -> None:
    job.result(timeout_s=limit_s)


def by_wait(repos: MemoryRepos, job: Job[str], limit_s: float) -> None:
    repos.wait([job], timeout_s=limit_s)


@pytest.mark.parametrize("wait", [by_result, by_wait])
class TestATimeOut:
    def test_it_names_the_callers_limit_and_why_the_job_waits(
        self, wait: Callable[[MemoryRepos, Job[str], float], None], broker: Valkey, repos: MemoryRepos
    ) -> None:
        job = repos.repo(**NAME).get_head_sha()

        def it_names_both(limit_s: float) -> None:
            with pytest.raises(JobTimeoutError) as caught:
                wait(repos, job, limit_s)

            assert str(caught.value) == (
                f"Job {job.id} has not ended within {limit_s:g} s: queued, no worker serves its queue. "
                "It goes on: wait again, or poll job.describe()."
            )
            assert caught.value.details == {
                "job_id": job.id,
                "timeout_s": limit_s,
                "status": "queued",
                "reason": "no worker serves its queue",
            }

        given_time(it_names_both)

    def test_it_tells_the_state_at_its_end_not_at_its_beginning(
        self, wait: Callable[[MemoryRepos, Job[str], float], None], worker: StandIn, repos: MemoryRepos
    ) -> None:
        worker.answer = lambda taken: worker.store(taken.id, "RETRY", retry_for("the store is away"))
        job = repos.repo(**NAME).get_head_sha()

        def it_tells_the_end(limit_s: float) -> None:
            with pytest.raises(JobTimeoutError, match=rf"{limit_s:g} s: retrying, the store is away"):
                wait(repos, job, limit_s)

        given_time(it_tells_the_end)


def test_a_time_out_for_many_says_how_many_and_of_the_first_why(broker: Valkey, repos: MemoryRepos) -> None:
    jobs = [repos.repo(**NAME).get_head_sha() for _ in range(3)]

    def it_says_both(limit_s: float) -> None:
        with pytest.raises(JobTimeoutError) as caught:
            repos.wait(jobs, timeout_s=limit_s)

        assert str(caught.value).startswith(
            f"3 of 3 jobs have not ended within {limit_s:g} s; the first of them, job {jobs[0].id}, is queued, no "
            "worker serves"
        )

    given_time(it_says_both)


def test_a_time_out_is_kept_to_the_time_where_the_broker_freezes(tmp_path: Path) -> None:
    with valkey(tmp_path) as broker, MemoryRepos(broker_url=broker.url) as repos:
        job = repos.repo(**NAME).get_head_sha()
        broker.freeze()
        try:
            for _ in range(3):  # a machine that is busy at that moment decides nothing
                began = time.monotonic()
                with pytest.raises(JobTimeoutError, match=r"has not ended within 0\.3 s: queued"):
                    job.result(timeout_s=0.3)
                if (took_s := time.monotonic() - began) < 2.0:
                    break
        finally:
            broker.thaw()

    assert took_s < 2.0


def test_with_asyncio_a_time_out_says_the_same_and_describe_knows(broker: Valkey) -> None:
    async def main(limit_s: float) -> None:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            job = repos.repo(**NAME).get_head_sha()
            first = job.describe()
            assert (first.status, first.served) == ("queued", None)
            for wait in (job.wait, partial(repos.wait, [job])):
                with pytest.raises(
                    JobTimeoutError,
                    match=rf"has not ended within {limit_s:g} s: queued, no worker serves its queue",
                ):
                    await wait(timeout_s=limit_s)
            assert (job.describe().reason, job.describe().served) == ("no worker serves its queue", False)

    given_time(lambda limit_s: asyncio.run(main(limit_s)))


def test_with_asyncio_a_job_that_the_broker_has_not_taken_says_so(tmp_path: Path) -> None:
    async def main(broker: Valkey) -> None:
        async with AsyncMemoryRepos(broker_url=broker.url) as repos:
            repo = repos.repo(**NAME)
            await repo.get_head_sha().enqueued()
            broker.freeze()
            job = repo.get_head_sha()
            with pytest.raises(
                JobTimeoutError, match=r"within 0\.2 s: queued, the broker has not taken it yet"
            ):
                await job.wait(timeout_s=0.2)
            broker.thaw()

    with valkey(tmp_path) as broker:
        asyncio.run(main(broker))


def test_a_worker_that_comes_and_goes_is_told_as_it_is(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as broker, MemoryRepos(broker_url=broker.url) as repos:
        repo = repos.repo(**NAME)
        waiting = repo.create_repo()
        wait_for(lambda: waiting.describe().served is False, "the broker's word that nobody serves it")

        short = {"MEMREPO_LEASE_S": "1"}
        with running_worker(tmp_path / "worker", broker, f"file://{tmp_path / 'store'}", env=short):
            waiting.result(timeout_s=30)
        left = repo.get_head_sha()  # the worker was killed: its lease ends by itself

        wait_for(lambda: left.describe().served is False, "nobody to serve it")
        assert str(left.describe()) == "queued, no worker serves its queue"


def test_a_worker_whose_store_is_away_tells_what_the_store_said(tmp_path: Path) -> None:
    store, aside = tmp_path / "store", tmp_path / "aside"
    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(tmp_path / "worker", broker, store.as_uri()),
        MemoryRepos(broker_url=broker.url) as repos,
    ):
        repo = repos.repo(**NAME)
        repo.create_repo().result(timeout_s=30)
        store.rename(aside)
        store.write_text("no folder")
        before = datetime.now(UTC)
        job = repo.commit({"a": "1"}, "m")
        wait_for(lambda: job.status() == "retrying", "the store's failure")

        def it_is_told(limit_s: float) -> None:
            with pytest.raises(JobTimeoutError, match=rf"within {limit_s:g} s: retrying, .*not a directory"):
                job.result(timeout_s=limit_s)

        given_time(it_is_told)
        since = job.describe().since
        assert since is not None
        assert before <= since <= datetime.now(UTC)

        store.unlink()
        aside.rename(store)
        assert job.result(timeout_s=30).created


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_line_says_the_same(as_json: bool, broker: Valkey) -> None:
    def it_says_the_same(limit_s: float) -> None:
        arguments = ["head", "acme", "agent-1", "--timeout", f"{limit_s:g}", *(["--json"] if as_json else [])]
        ended = CliRunner().invoke(main, arguments, env={"MEMREPO_BROKER_URL": broker.url})

        assert ended.exit_code == 5
        assert f"has not ended within {limit_s:g} s: queued, no worker serves its queue" in ended.stderr

    given_time(it_says_the_same)


def test_a_job_that_failed_tells_its_error_also_by_its_state(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    worker.wait_taken(1)
    worker.store(job.id, "FAILURE", failure(HeadMovedError("moved")))

    assert str(job.describe()) == "failed, moved"
    assert SHA not in repr(job)
