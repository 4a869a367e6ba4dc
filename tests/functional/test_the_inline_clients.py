"""What users' own tests rely on beside the operations: the inline worker's faults, order and clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from memrepo import (
    InvalidRequestError,
    JobCancelledError,
    JobTimeoutError,
    Limits,
    MemoryRepoError,
    MemoryRepos,
    RepoNotFoundError,
    ResultExpiredError,
)
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ListedObject
from memrepo_worker.testing import async_inline_repos, inline_repos, inline_worker
from memrepo_worker.testing.request import InlineRequest
from tests.producer.loop_guard import loop_guard
from tests.support.waiting import wait_for

NAME = {"org_id": "acme", "agent_id": "agent-1"}


def test_calls_have_been_executed_when_they_return() -> None:
    with inline_repos() as repos:
        job = repos.repo(**NAME).create_repo()

        assert job.done()
        assert job.status() == "done"


def test_requests_wait_for_a_store_that_is_away_and_are_done_after_it() -> None:
    with inline_worker() as worker:
        repo = worker.repos().repo(**NAME)
        repo.create_repo()
        with worker.store_outage():
            first, second = repo.commit({"a": "1"}, "one"), repo.commit({"b": "2"}, "two")
            waiting = first.status(), second.status()
            with pytest.raises(JobTimeoutError):
                second.result(timeout_s=0.01)

        assert waiting == ("retrying", "queued")
        assert second.result(timeout_s=20).parent_sha == first.result(timeout_s=20).sha
        assert first.status() == "done"


def test_a_job_says_why_it_waits() -> None:
    with inline_worker() as worker:
        repo = worker.repos().repo(**NAME)
        with worker.store_outage():
            retrying = repo.create_repo()
            with pytest.raises(
                JobTimeoutError, match=r"within 0\.01 s: retrying, memory://: a test has taken it away"
            ):
                retrying.result(timeout_s=0.01)
            assert retrying.describe().reason.startswith("memory://: a test has")
        with worker.pause():
            queued = repo.get_head_sha()
            assert (queued.describe().reason, queued.describe().served) == (
                "no worker serves its queue",
                False,
            )

        assert retrying.result(timeout_s=20).created


def test_with_asyncio_they_wait_too() -> None:
    async def main() -> None:
        async with async_inline_repos() as repos:
            assert (await repos.repo(**NAME).create_repo()).created
        with inline_worker() as worker:
            repo = worker.async_repos().repo(**NAME)
            with worker.store_outage():
                job = repo.create_repo()
                await asyncio.to_thread(
                    wait_for, lambda: job.status() == "retrying", "the outage to be noticed"
                )
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await job
            assert (await job).created

    asyncio.run(main())


def test_a_store_of_ones_own_may_fail_as_it_likes() -> None:
    class OddStore(MemoryStore):
        broken = True

        def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
            if self.broken:
                raise ZeroDivisionError
            return super().list(prefix, start_after)

    store = OddStore()
    with inline_repos(store=store) as repos:
        job = repos.repo(**NAME).create_repo()
        with pytest.raises(MemoryRepoError, match=f"request {job.request_id} failed inside the worker"):
            job.result()
        store.broken = False
        assert repos.repo(**NAME).create_repo().result().created


def test_paused_it_begins_nothing_and_keeps_the_order() -> None:
    with inline_worker() as worker:
        repo = worker.repos().repo(**NAME)
        with worker.pause():
            jobs = [repo.commit({"n": str(n)}, f"{n}", create_repo_if_missing=True) for n in range(5)]
            jobs[3].cancel()
            assert [job.status() for job in jobs] == ["queued"] * 3 + ["cancelled", "queued"]
            with pytest.raises(RuntimeError), worker.pause():
                pass

        history = [commit.message for commit in repo.get_history().result()]

    assert history == ["4", "2", "1", "0"]
    with pytest.raises(JobCancelledError):
        jobs[3].result()


def test_what_has_ended_is_not_cancelled() -> None:
    with inline_repos() as repos:
        job = repos.repo(**NAME).create_repo()

        job.cancel()

        assert job.status() == "done"
        assert job.result().created


def test_commits_that_wait_together_share_an_entry_as_in_production() -> None:
    store = MemoryStore()
    with inline_worker(store=store) as worker:
        repo = worker.repos().repo(**NAME)
        with worker.store_outage():
            repo.create_repo()
            jobs = [repo.commit({f"{number}": "x"}, "many") for number in range(20)]
        shas = {job.result(timeout_s=20).sha for job in jobs}

    assert len(shas) == 20
    assert (
        len([*store.list("acme/agent-1/repo.git/journal/")]) == 2
    )  # the first, and all that waited behind it


def test_the_clients_of_one_worker_see_the_same_memories_and_find_each_others_jobs() -> None:
    async def read(job_id: str) -> tuple[str, str]:
        repos = worker.async_repos()
        return (await repos.job(job_id)).sha, await repos.repo(**NAME).get_head_sha()

    with inline_worker() as worker:
        with worker.repos() as repos:
            made = repos.repo(**NAME).create_repo()
        assert asyncio.run(read(made.id)) == (made.result().sha, made.result().sha)
        assert worker.repos().job(made.id).result() == made.result()


def test_two_workers_over_one_store_see_each_others_commits() -> None:
    store = MemoryStore()
    with inline_repos(store=store) as here, inline_repos(store=store) as there:
        one, other = here.repo(**NAME), there.repo(**NAME)
        one.create_repo({"n": "1"}).result()
        assert other.get_file("n").result().text == "1"
        one.commit({"n": "2"}, "two").result()
        assert other.get_file("n").result().text == "2"


def test_the_clock_and_the_limits_are_ones_own() -> None:
    def first_sha() -> str:
        with inline_repos(clock=lambda: 1_700_000_000.0, limits=Limits(file_bytes_max=3)) as repos:
            repo = repos.repo(**NAME)
            with pytest.raises(InvalidRequestError, match="file_bytes_max"):
                repo.commit({"a": "long"}, "m")
            made = repo.commit(
                {"a": "1"}, "m", create_repo_if_missing=True, request_id="chosen-id-1"
            ).result()
            assert made.timestamp.timestamp() == 1_700_000_000.0
            return made.sha

    assert first_sha() == first_sha()


def never_sent(repos: MemoryRepos) -> object:
    return repos.job("a-job-that-never-was").result(timeout_s=20)


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (never_sent, ResultExpiredError),
        (lambda repos: repos.job("x"), InvalidRequestError),
        (lambda repos: repos.repo(**NAME).get_files().result(), RepoNotFoundError),
    ],
)
def test_errors_are_raised_as_in_production(ask: Callable[[object], object], kind: type[Exception]) -> None:
    with inline_repos() as repos, pytest.raises(kind):
        ask(repos)


def test_a_job_that_was_never_sent_is_unknown() -> None:
    async def status() -> str:
        async with async_inline_repos() as repos:
            return repos.job("a-job-that-never-was").status()

    with inline_repos() as repos:
        assert repos.job("a-job-that-never-was").status() == "unknown"
    assert asyncio.run(status()) == "unknown"


def test_a_closed_client_takes_no_calls_and_its_worker_goes_on() -> None:
    with inline_worker() as worker:
        with worker.repos() as repos, worker.pause():
            repo = repos.repo(**NAME)
            job = repo.create_repo()
            repos.close()
            with pytest.raises(MemoryRepoError, match="it goes on"):
                job.result()
            with pytest.raises(MemoryRepoError, match="The client is closed"):
                repo.get_files()
        assert worker.repos().job(job.id).result(timeout_s=20).created

    with pytest.raises(MemoryRepoError, match="closed"):
        repo.get_files()
    with pytest.raises(MemoryRepoError, match="has ended"):
        worker.repos().repo(**NAME).get_files()


def test_leaving_the_block_does_what_was_sent() -> None:
    async def send(store: MemoryStore) -> None:
        async with async_inline_repos(store=store) as repos:
            for number in range(50):
                repos.repo(**NAME).commit({f"{number}": "x"}, "m", create_repo_if_missing=True)

    store = MemoryStore()
    asyncio.run(send(store))

    with inline_repos(store=store) as repos:
        assert len(repos.repo(**NAME).get_history(limit=100).result()) == 50


def test_nothing_is_left_behind_though_the_store_stays_away() -> None:
    before = {*threading.enumerate()}
    with ExitStack() as stack, inline_worker() as worker:
        stack.enter_context(worker.store_outage())
        waiting = worker.repos().repo(**NAME).create_repo()
        async_waiting = worker.async_repos().repo(**NAME).create_repo()

    assert {*threading.enumerate()} <= before
    for job in (waiting, async_waiting):
        with pytest.raises(MemoryRepoError, match="client was closed"):
            job.future.result(timeout=0)


def test_nothing_blocks_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def everything() -> None:
        async with async_inline_repos() as repos:
            repo = repos.repo(**NAME)
            assert (await repo.create_repo()).created
            jobs = [repo.commit({f"{number}": "x"}, "m") for number in range(20)]
            progress: list[tuple[int, int]] = []
            await repos.wait(jobs, timeout_s=20, on_progress=lambda *ended: progress.append(ended))
            assert progress == [(ended, 20) for ended in range(21)]
            await jobs[0].enqueued()
            jobs[0].cancel()
            assert (jobs[0].status(), await jobs[0]) == ("done", await repos.job(jobs[0].id))

            def ask_in_the_loop() -> None:
                for _ in range(100):  # one that is done by then gives its result
                    repo.get_head_sha().result()

            with pytest.raises(MemoryRepoError, match="await job"):
                ask_in_the_loop()
            await repo.delete_repo()

    async def guarded() -> list[str]:
        with loop_guard(monkeypatch) as blocked:
            await everything()
        return blocked

    assert asyncio.run(guarded()) == []


@pytest.mark.parametrize("where", ["open", "record_status", "settle"])
def test_a_fault_of_the_inline_worker_ends_the_job_and_no_test_hangs(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inline_repos() as repos:
        repo = repos.repo(**NAME)
        repo.create_repo({"a.md": "x"}).result()
        with monkeypatch.context() as broken:
            broken.setattr(InlineRequest, where, _out_of_order)
            job = repo.commit({"a.md": "y"}, "never told", request_id="my-own-id-1")

        with pytest.raises(MemoryRepoError, match="fault of its own: RuntimeError: out of order") as caught:
            job.result(timeout_s=10)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert repo.get_file("a.md").result(timeout_s=30).text in ("x", "y")  # it serves on


def _out_of_order(*_: object) -> None:
    raise RuntimeError("out of order")
