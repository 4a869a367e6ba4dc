"""A job is known by an id that nobody can work out, also where its request's id was chosen and is known."""

from __future__ import annotations

from memrepo import MemoryRepo, MemoryRepos
from tests.producer.stand_in import SHA, StandIn

KNOWN = "order-4711"


def test_a_cancel_by_a_known_request_id_reaches_no_job_of_anybody_else(
    repos: MemoryRepos, repo: MemoryRepo, worker: StandIn
) -> None:
    worker.answer = lambda _: None
    guess = repos.job(KNOWN)
    guess.cancel()

    job = repo.commit({"a.md": "x"}, "m", request_id=KNOWN)
    (taken,) = worker.wait_taken(1)
    guess.cancel()
    worker.settle(taken, SHA)

    assert taken.id == job.id != KNOWN
    assert taken.request["request_id"] == KNOWN
    assert job.status() != "cancelled"


def test_the_same_call_again_is_another_job(repo: MemoryRepo, worker: StandIn) -> None:
    worker.answer = lambda _: None
    jobs = [repo.commit({"a.md": "x"}, "m", request_id=KNOWN) for _ in range(3)]

    taken = worker.wait_taken(3)

    assert len({one.id for one in taken}) == 3
    assert {one.id for one in taken} == {job.id for job in jobs}
    assert {one.request["request_id"] for one in taken} == {KNOWN}
