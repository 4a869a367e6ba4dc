"""Jobs and clients over the queue and inline, for threads and for asyncio: what one offers the others do, too."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from memrepo import (
    AsyncMemoryRepos,
    HeadMovedError,
    InvalidRequestError,
    Job,
    MemoryRepo,
    MemoryRepoError,
    MemoryRepos,
    PathNotFoundError,
)
from memrepo_worker.testing import inline_worker
from tests.support import loop_in_a_thread
from tests.support.jobs import done, present
from tests.support.loop_in_a_thread import as_if_blocking
from tests.support.systems import System
from tests.support.waiting import wait_for

_NUMBERS = count(1)
WAIT_S = 20

Connect = Callable[[], AbstractContextManager[MemoryRepos]]
"""Makes one more client of the same broker, or of the same inline worker."""


@contextmanager
def asyncio_client(make: Callable[[], AsyncMemoryRepos]) -> Iterator[MemoryRepos]:
    with as_if_blocking(make()) as repos:
        yield repos
        repos.close()


@pytest.fixture(scope="module", params=["queue", "queue, asyncio", "inline", "inline, asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as stack:
        if request.param.startswith("queue"):
            system: System = request.getfixturevalue("system")
            blocking: Callable[[], MemoryRepos] = partial(MemoryRepos, broker_url=system.broker_url)
            for_asyncio: Callable[[], AsyncMemoryRepos] = partial(
                AsyncMemoryRepos, broker_url=system.broker_url
            )
        else:
            worker = stack.enter_context(inline_worker())
            blocking, for_asyncio = worker.repos, worker.async_repos
        yield partial(asyncio_client, for_asyncio) if request.param.endswith("asyncio") else blocking


@pytest.fixture
def repos(connect: Connect) -> Iterator[MemoryRepos]:
    with connect() as client:
        yield client


@pytest.fixture
def repo(repos: MemoryRepos) -> MemoryRepo:
    repo = repos.repo(org_id="acme", agent_id=f"twin-{next(_NUMBERS)}")
    repo.create_repo().result(timeout_s=WAIT_S)
    return repo


def test_a_job_that_has_ended_says_so_in_every_way(repo: MemoryRepo) -> None:
    job = repo.commit({"a": "1"}, "one")
    result = job.result(timeout_s=WAIT_S)

    job.wait_enqueued()
    job.cancel()  # too late, and no error

    assert (job.status(), job.describe().status, job.done()) == ("done", "done", True)
    assert job.result() == job.future.result(timeout=0) == result
    assert repo.get_head_sha().result(timeout_s=WAIT_S) == result.sha


def test_a_request_that_is_refused_raises_its_own_error_each_time(repo: MemoryRepo) -> None:
    job = repo.commit({"a": "1"}, "one", expected_head="a" * 40)

    for _ in range(2):
        with pytest.raises(HeadMovedError) as refusal:
            job.result(timeout_s=WAIT_S)

    assert refusal.value.details["head"] == repo.get_head_sha().result(timeout_s=WAIT_S)
    assert job.status() == "failed"
    assert present(done(repo.find_request(present(job.request_id)))).verdict == "failed"


def test_waiting_for_many_reports_each_that_ends_well_or_not(repos: MemoryRepos, repo: MemoryRepo) -> None:
    jobs = [repo.commit({f"{number}": "x"}, "many") for number in range(5)]
    jobs.append(repo.commit({"a": "1"}, "one", expected_head="a" * 40))
    progress: list[tuple[int, int]] = []

    repos.wait(jobs, timeout_s=WAIT_S, on_progress=lambda *ended: progress.append(ended))

    assert progress == [(ended, 6) for ended in range(7)]
    assert [job.status() for job in jobs] == ["done"] * 5 + ["failed"]


def test_another_client_finds_a_job_by_its_id_with_its_type(connect: Connect, repo: MemoryRepo) -> None:
    read, refused = repo.get_files(), repo.get_file("nothing")
    files = read.result(timeout_s=WAIT_S)
    with pytest.raises(PathNotFoundError):
        refused.result(timeout_s=WAIT_S)

    with connect() as other:
        found = other.job(read.id)
        assert found.result(timeout_s=WAIT_S) == files
        assert (found.id, found.request_id, found.status()) == (read.id, None, "done")
        found.cancel()
        other.wait([found, other.job(refused.id)], timeout_s=WAIT_S)
        sought = other.job(
            refused.id
        )  # with asyncio the status is what is known, and asking has it looked up
        wait_for(lambda: sought.status() == "failed", "the refused job's status")


def test_a_request_that_is_sent_twice_is_done_once(connect: Connect, repo: MemoryRepo) -> None:
    first = repo.commit({"a": "1"}, "one", request_id="chosen-id-1").result(timeout_s=WAIT_S)

    with connect() as other:
        again = other.repo(org_id=repo.org_id, agent_id=repo.agent_id)
        assert again.commit({"a": "1"}, "one", request_id="chosen-id-1").result(timeout_s=WAIT_S) == first
        with pytest.raises(InvalidRequestError, match="another request"):
            again.commit({"a": "2"}, "one", request_id="chosen-id-1").result(timeout_s=WAIT_S)
    assert len(repo.get_history().result(timeout_s=WAIT_S)) == 2


def test_a_job_that_nobody_sent_is_unknown_and_has_no_result(repos: MemoryRepos) -> None:
    never_sent = repos.job("00000000-0000-0000-0000-000000000000")

    assert never_sent.status() == "unknown"
    with pytest.raises(MemoryRepoError):  # over the queue it may still come, inline it cannot
        never_sent.result(timeout_s=0.3)
    with pytest.raises(InvalidRequestError, match="job_id"):
        repos.job("?")


def test_a_client_that_was_closed_takes_no_call(connect: Connect) -> None:
    with connect() as repos:
        repo = repos.repo(org_id="acme", agent_id=f"twin-{next(_NUMBERS)}")
        repo.create_repo().result(timeout_s=WAIT_S)
        repos.close()
        repos.close()

        with pytest.raises(MemoryRepoError, match="The client is closed"):
            repo.get_head_sha()
        with pytest.raises(MemoryRepoError, match="The client is closed"):
            repos.job("00000000-0000-0000-0000-000000000000").status()


def test_no_way_to_ask_a_client_or_a_job_is_left_out_above() -> None:
    here = ast.parse(Path(__file__).read_text() + Path(loop_in_a_thread.__file__).read_text())
    asked = {node.attr for node in ast.walk(here) if isinstance(node, ast.Attribute)}
    public = {name for kind in (Job, MemoryRepos, AsyncMemoryRepos) for name in vars(kind)}
    own_use = {
        "add_done_callback",
        "attend",
        "ended",
        "inquire",
        "late",
        "pending",
        "BLOCKS",
        "enqueued_since",
        "look_where_unsent",
    }

    assert {name for name in public if not name.startswith("_")} - asked - own_use == set()
