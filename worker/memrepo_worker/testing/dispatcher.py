"""A client's way to an inline worker: what the clients have in place of the queue."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from memrepo.errors import MemoryRepoError
from memrepo.jobs.job import Job
from memrepo.jobs.pending import Pending, closed, expired
from memrepo.jobs.waiting import settled
from memrepo.limits import Limits
from memrepo.validation.values import check_request_id
from memrepo.wire.operations import Asked, Operation, result_of_task
from memrepo_worker.group import Agent

if TYPE_CHECKING:
    from memrepo_worker.testing.request import InlineRequest
    from memrepo_worker.testing.worker import InlineWorker

T = TypeVar("T")


class InlineDispatcher:
    """Hands requests to an inline worker; see ``memrepo.jobs.job.Dispatcher`` for what it owes.

    If it ``blocks``, a call returns when its request has been executed, or it is not known when it will be.
    """

    def __init__(self, worker: InlineWorker, *, blocks: bool) -> None:
        """Made by ``InlineWorker.repos`` and ``async_repos``."""
        self._worker = worker
        self._blocks = blocks
        self._closed = False
        self._followed: set[Pending[Any]] = set()

    @property
    def blocks(self) -> bool:
        """Whether the caller's thread may wait."""
        return self._blocks

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        return self._worker.limits

    def now_s(self) -> float:
        """Wall time: seconds since 1970-01-01 UTC."""
        return self._worker.clock()

    def submit(self, operation: Operation[Asked, T], request: Asked, task_id: str) -> Job[T]:
        """Hand a checked request over; the worker holds it at once."""
        self._require_open()
        ticket = self._worker.take(operation, request, task_id)
        pending: Pending[T] = Pending(
            task_id,
            lambda body, _: operation.result_from_payload(body),
            sent=settled(),
            about=f"{operation.name} of {request.org_id}/{request.agent_id}",
        )
        self._follow(pending, ticket)
        if self._blocks:
            self._worker.wait(ticket)
        return Job(self, pending, request.request_id)

    def find(self, job_id: str) -> Job[Any]:
        """Return a job that any client of the worker has sent."""
        check_request_id(job_id, "job_id")
        return Job(self, Pending(job_id, result_of_task, foreign=True))

    def listen(self, org_id: str, agent_id: str, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called whenever the worker has written to a memory."""
        self._require_open()
        return self._worker.listen(Agent(org_id, agent_id), heard)

    def look(self, pending: Pending[Any]) -> None:
        """Take note of how far a job is."""
        self._require_open()
        ticket = self._worker.find(pending.task_id)
        if ticket is not None:
            self._follow(pending, ticket)
            record = ticket.record
            if not record.final:  # a final one comes with its result, to whoever follows
                pending.settle(record)

    def is_served(self, pending: Pending[Any]) -> bool | None:  # noqa: ARG002 - one worker serves all
        """Return whether the worker begins requests now: not while it is paused."""
        return not self._worker.is_paused

    def inquire(self, pending: Pending[Any]) -> Future[None]:
        """Take note of how far a job is."""
        self.look(pending)
        return settled()

    def watch(self, pending: Pending[Any]) -> None:
        """Resolve a job as soon as its result is there; at once if no client has sent it, as nothing would come."""
        self.look(pending)
        if self._worker.find(pending.task_id) is None:
            pending.fail(expired(pending.task_id), "unknown")

    def cancel(self, pending: Pending[Any]) -> None:
        """End a job that has not been started."""
        self._require_open()
        ticket = self._worker.find(pending.task_id)
        if ticket is not None and ticket.claim():
            ticket.record_status("cancelled")

    def forget(self, pending: Pending[Any]) -> None:
        """Keep nothing of a job that was given up."""
        self._followed.discard(pending)

    def close(self) -> None:
        """Take no further calls. Whoever still waits for a job is told; the job itself goes on."""
        self._closed = True
        for pending in [*self._followed]:
            pending.fail(closed(pending.task_id), pending.status)

    def _follow(self, pending: Pending[Any], ticket: InlineRequest) -> None:
        if pending in self._followed:
            return
        self._followed.add(pending)

        def end(ended: Future[Any]) -> None:
            error = ended.exception()
            if isinstance(error, MemoryRepoError):
                pending.fail(error, ticket.pending.status)
            else:
                pending.succeed(ended.result())

        ticket.pending.future.add_done_callback(end)

    def _require_open(self) -> None:
        if self._closed:
            raise MemoryRepoError("The client is closed: make a new one.")
