"""``status()`` says that a job has ended from when ``done()`` does, and not before."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

from memrepo import Job, JobCancelledError, MemoryRepoError
from memrepo.jobs.pending import Pending
from memrepo.wire.payload import Payload
from memrepo.wire.record import Status


class Nobody:
    """Whom a job asks, who knows no more of it than the job itself."""

    blocks = True

    def look(self, pending: Pending[Any]) -> None: ...

    def is_served(self, _: Pending[Any]) -> bool:
        return False

    def inquire(self, _: Pending[Any]) -> Future[None]:
        answered: Future[None] = Future()
        answered.set_result(None)
        return answered


def job() -> Job[str]:
    return Job(cast("Any", Nobody()), Pending("task", lambda payload, _: str(payload.value), queue="queue"))


def not_asked() -> Any:
    raise AssertionError


def test_while_its_large_result_is_on_its_way_a_job_runs() -> None:
    one, seen = job(), []

    def get() -> Payload:
        seen.append(
            (one.status(), str(one.describe()), one.describe().served, one.done(), "running" in repr(one))
        )
        return Payload("result")

    one.pending.fetch(get, not_asked)

    words = "running, it has ended; its result is on its way to this client"
    assert seen == [("running", words, None, False, True)]
    assert (one.status(), one.done(), one.result()) == ("done", True, "result")


def test_a_large_result_that_does_not_come_now_leaves_it_so() -> None:
    one = job()

    def get() -> Payload:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        one.pending.fetch(get, not_asked)

    assert (one.status(), one.done()) == ("running", False)


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_at_the_moment_of_its_end_neither_comes_first(status: Status) -> None:
    one, seen = job(), []

    class Looking(Future[Any]):
        def set_result(self, result: object) -> None:
            seen.append((one.status(), one.done()))
            super().set_result(result)

        def set_exception(self, exception: BaseException | None) -> None:
            seen.append((one.status(), one.done()))
            super().set_exception(exception)

    one.pending.future = Looking()
    one.pending.future.add_done_callback(lambda _: seen.append((one.status(), one.done())))
    if status == "done":
        one.pending.finish(Payload("result"))
    else:
        one.pending.fail(JobCancelledError("x") if status == "cancelled" else MemoryRepoError("x"), status)

    assert seen == [("running", False), (status, True)]
