from __future__ import annotations

import json
import subprocess
import sys
import threading
import traceback
from contextlib import suppress
from random import Random

import pytest

from memrepo import (
    CommitResult,
    JobCancelledError,
    JobTimeoutError,
    MemoryRepo,
    MemoryRepoError,
    MemoryRepos,
    Settings,
    Snapshot,
)
from memrepo.errors import BY_NAME
from tests.producer.stand_in import SHA, StandIn, Taken
from tests.support.valkey import Valkey

COMMIT = {
    "sha": SHA,
    "parent_sha": None,
    "message": "m",
    "author_type": "agent",
    "author_id": None,
    "author_name": "n",
    "author_email": "e",
    "timestamp": "2024-01-02T03:04:05Z",
    "files_changed": ["a"],
    "additions": 1,
    "deletions": 0,
    "request_id": None,
    "counts_exact": True,
    "branch": "main",
    "created": True,
    "new_branch": False,
    "rebased_from": None,
}


def test_a_result_comes_back_with_its_type(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: COMMIT

    job = repo.commit({"a": "1"}, "m")

    assert isinstance(job.result(timeout_s=30), CommitResult)
    assert job.done()
    assert job.status() == "done"


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_error_comes_back_as_itself(name: str, worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: BY_NAME[name]("what went wrong", {"head": SHA})

    job = repo.get_head_sha()

    with pytest.raises(BY_NAME[name], match="what went wrong") as caught:
        job.result(timeout_s=5)
    assert type(caught.value) is BY_NAME[name]
    assert caught.value.details == {"head": SHA}
    assert job.status() == "failed"


def test_an_error_of_celery_itself_comes_back_under_its_name(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    worker.wait_taken(1)

    worker.store(job.id, "FAILURE", {"exc_type": "NotRegistered", "exc_message": ["memrepo.x"]})

    with pytest.raises(MemoryRepoError, match=r"NotRegistered: memrepo\.x"):
        job.result(timeout_s=5)


def test_a_result_of_another_version_is_told_as_such(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: {"not": "a sha"}

    with pytest.raises(MemoryRepoError, match="different versions"):
        repo.get_head_sha().result(timeout_s=5)


def test_a_lost_reply_is_found_at_its_key(worker: StandIn, repo: MemoryRepo) -> None:
    worker.publishes = False

    assert repo.get_head_sha().result(timeout_s=30) == SHA


def test_a_reply_said_while_the_connection_was_cut_is_found(
    broker: Valkey, worker: StandIn, repo: MemoryRepo
) -> None:
    worker.answer = lambda _: None
    jobs = [repo.get_head_sha() for _ in range(20)]
    for taken in list(worker.wait_taken(20)):
        broker.cut_all_connections()
        worker.settle(taken, SHA)

    assert [job.result(timeout_s=30) for job in jobs] == [SHA] * 20


def test_what_is_no_record_is_passed_over(broker: Valkey, worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    [taken] = worker.wait_taken(1)

    for noise in (
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"task_id": 7}',
        json.dumps({"task_id": job.id, "status": "?"}),
    ):
        broker.client().publish(taken.properties["reply_to"], noise)
    worker.settle(taken, SHA)

    assert job.result(timeout_s=30) == SHA


def test_a_result_that_is_not_there_in_time_leaves_the_job_running(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()

    with pytest.raises(JobTimeoutError, match=job.id):
        job.result(timeout_s=0.05)
    [taken] = worker.wait_taken(1)
    worker.settle(taken, SHA)

    assert job.result(timeout_s=30) == SHA


def test_a_status_follows_the_job(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    seen = [job.status()]
    [taken] = worker.wait_taken(1)
    for state in ("STARTED", "RETRY"):
        worker.store(job.id, state)
        seen.append(job.status())
    worker.settle(taken, SHA)
    seen.append(job.status())

    assert seen == ["queued", "running", "retrying", "done"]


def test_another_client_finds_a_job_by_its_id_and_gives_its_result_a_type(
    worker: StandIn, repo: MemoryRepo, settings: Settings
) -> None:
    worker.answer = lambda _: {"commit_sha": SHA, "files": {}}
    job = repo.get_files()

    with MemoryRepos(settings=settings) as elsewhere:
        found = elsewhere.job(job.id)
        result = found.result(timeout_s=30)

    assert isinstance(result, Snapshot)
    assert found.status() == "done"
    assert found.request_id is None


def test_another_client_waits_for_a_job_that_has_not_ended(
    worker: StandIn, repo: MemoryRepo, settings: Settings
) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    [taken] = worker.wait_taken(1)
    with MemoryRepos(settings=settings) as elsewhere:
        found = elsewhere.job(job.id)
        assert found.status() == "unknown"
        later = threading.Timer(0.2, worker.settle, (taken, SHA))
        later.start()

        assert found.result(timeout_s=30) == SHA
        later.join()


def test_two_jobs_of_one_request_id_each_have_their_own_answer(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: COMMIT

    jobs = [repo.commit({"a": "1"}, "m", request_id="my-own-request") for _ in range(2)]

    assert [job.result(timeout_s=30).sha for job in jobs] == [SHA, SHA]


def test_a_cancelled_job_says_so_to_everybody(broker: Valkey, repo: MemoryRepo, settings: Settings) -> None:
    job = repo.get_head_sha()

    job.cancel()

    assert job.status() == "cancelled"
    with pytest.raises(JobCancelledError):
        job.result(timeout_s=5)
    with MemoryRepos(settings=settings) as elsewhere, pytest.raises(JobCancelledError):
        elsewhere.job(job.id).result(timeout_s=5)
    assert broker.client().ttl(f"celery-task-meta-{job.id}") > 24 * 3600


def test_stock_celery_sees_a_cancelled_job_as_revoked(broker: Valkey, repo: MemoryRepo) -> None:
    from celery import Celery

    job = repo.get_head_sha()
    job.cancel()

    with Celery("stock", broker=broker.url, backend=broker.url, set_as_current=False) as app:
        stock = app.AsyncResult(job.id)
        assert stock.state == "REVOKED"
        assert isinstance(stock.result, JobCancelledError)


def test_cancelling_comes_too_late_for_a_job_that_has_started(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()
    [taken] = worker.wait_taken(1)
    worker.store(job.id, "STARTED")

    job.cancel()

    assert job.status() == "running"
    worker.settle(taken, SHA)
    assert job.result(timeout_s=30) == SHA


def test_waiting_for_many_jobs_reports_progress(
    worker: StandIn, repos: MemoryRepos, repo: MemoryRepo
) -> None:
    def answer(taken: Taken) -> object:
        return MemoryRepoError("no") if taken.request.get("branch") == "bad" else SHA

    worker.answer = answer
    jobs = [repo.get_head_sha("bad" if number == 3 else "main") for number in range(10)]
    progress: list[tuple[int, int]] = []

    repos.wait(jobs, timeout_s=10, on_progress=lambda ended, of: progress.append((ended, of)))

    assert progress == [(ended, 10) for ended in range(11)]
    assert [job.status() for job in jobs].count("failed") == 1


def test_waiting_longer_than_allowed_names_a_job(
    worker: StandIn, repos: MemoryRepos, repo: MemoryRepo
) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()

    with pytest.raises(JobTimeoutError) as caught:
        repos.wait([job], timeout_s=0.05)
    assert caught.value.details["job_id"] == job.id


def test_closing_a_client_tells_whoever_waits_for_its_jobs(worker: StandIn, settings: Settings) -> None:
    worker.answer = lambda _: None
    client = MemoryRepos(settings=settings)
    job = client.repo(org_id="acme", agent_id="agent-1").get_head_sha()
    told: list[str] = []

    def wait() -> None:
        with pytest.raises(MemoryRepoError) as caught:
            job.result()
        told.append(str(caught.value))

    waiting = threading.Thread(target=wait)
    waiting.start()
    worker.wait_taken(1)
    client.close()
    waiting.join(timeout=10)

    assert len(told) == 1
    assert "client was closed" in told[0]


FORKED = """
import os, sys
from memrepo import MemoryRepos
with MemoryRepos(broker_url=sys.argv[1]) as repos:
    repo = repos.repo(org_id="acme", agent_id="agent-1")
    assert repo.get_head_sha().result(timeout_s=30) == "a" * 40
    child = os.fork()
    assert repo.get_head_sha().result(timeout_s=30) == "a" * 40
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
"""


def test_a_client_works_on_in_a_process_that_was_forked_off(worker: StandIn, broker: Valkey) -> None:
    subprocess.run([sys.executable, "-c", FORKED, broker.url], check=True, timeout=60)

    assert len(worker.taken) == 3


def test_an_error_is_a_new_one_each_time_so_that_its_traceback_does_not_grow(
    worker: StandIn, repo: MemoryRepo
) -> None:
    worker.answer = lambda _: MemoryRepoError("no")
    job = repo.get_head_sha()

    def error() -> MemoryRepoError:
        with pytest.raises(MemoryRepoError) as caught:
            job.result(timeout_s=5)
        return caught.value

    errors = [error() for _ in range(20)]

    assert len({id(one) for one in errors}) == 20
    assert len({len(traceback.extract_tb(one.__traceback__)) for one in errors}) == 1


def test_waiting_no_time_for_what_has_ended_returns(
    worker: StandIn, repos: MemoryRepos, repo: MemoryRepo
) -> None:
    jobs = [repo.get_head_sha() for _ in range(3)]
    repos.wait(jobs, timeout_s=10)
    progress: list[tuple[int, int]] = []

    repos.wait([*jobs, jobs[0]], timeout_s=0, on_progress=lambda ended, of: progress.append((ended, of)))

    assert progress == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert jobs[0].result(timeout_s=0) == SHA


def test_a_job_is_waited_for_in_hundreds_of_short_waits(
    broker: Valkey, worker: StandIn, repos: MemoryRepos
) -> None:
    def wait(repo: MemoryRepo) -> None:
        job = repo.get_head_sha()
        with suppress(JobTimeoutError):
            repos.wait([job], timeout_s=Random(job.id).uniform(0.0, 0.004))

    repo = repos.repo(org_id="acme", agent_id="agent-1")
    for _ in range(300):
        wait(repo)


def test_what_on_progress_raises_is_the_callers(
    worker: StandIn, repos: MemoryRepos, repo: MemoryRepo
) -> None:
    def stop(ended: int, _: int) -> None:
        if ended:
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        repos.wait([repo.get_head_sha()], timeout_s=10, on_progress=stop)


def test_nobody_but_memrepo_ends_a_job(worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    job = repo.get_head_sha()

    assert not job.future.cancel()

    (taken,) = worker.wait_taken(1)
    worker.settle(taken, SHA)
    assert job.result(timeout_s=30) == SHA
