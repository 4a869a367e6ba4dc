"""A request as Celery knows it: a message with an id, a state, events and an acknowledgement."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from celery.app.trace import fast_trace_task
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.request import Request as CeleryRequest

from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.limits import Limits
from memrepo.operations import OPERATIONS, TASK_PREFIX, build, validate
from memrepo.requests import Request
from memrepo.routing import route
from memrepo_worker.group import Agent, Outcome
from memrepo_worker.queues.shapes import shape_of
from memrepo_worker.queues.tenures import Tenure

NO_CANVAS: dict[str, None] = {
    "callbacks": None,
    "errbacks": None,
    "chain": None,
    "chord": None,
    "group": None,
}
"""What a message may not ask of a worker: to send further messages of the message's choosing."""


class Job(CeleryRequest):  # type: ignore[misc]  # celery ships no types
    """Celery's own request, showing shapes only. Its body is let go once it is decoded.

    ``tenure`` and ``number`` say under which ownership the message was delivered, and as which.
    """

    started_s: float | None = None

    def __init__(
        self,
        message: Any,  # noqa: ANN401 - kombu's
        consumer: Consumer,
        tenure: Tenure,
        number: str,
        **options: Any,  # noqa: ANN401 - celery's
    ) -> None:
        super().__init__(
            message,
            app=consumer.app,
            hostname=consumer.hostname,
            connection_errors=consumer.connection_errors,
            **options,
        )
        self.tenure = tenure
        self.number = number
        self._consumer = consumer

    def read(self, limits: Limits, shards: int) -> Request:
        """Return the memory request that the message carries.

        Raises:
            InvalidRequestError: it carries none, a wrong one, or lies in a queue that is not its agent's.
        """
        kwargs = self.request_dict.get("kwargs")
        self._argsrepr, self._kwargsrepr = "()", ""
        try:
            values = kwargs.get("request") if isinstance(kwargs, dict) else None
            if not isinstance(values, dict) or self.request_dict.get("args"):
                raise InvalidRequestError.of("request", "the task takes one keyword argument, request")
            request = build(OPERATIONS[self.type.removeprefix(TASK_PREFIX)].request, **values)
            validate(request, limits)
            self._check_route(request, shards)
        finally:
            self._let_body_go()
        self._kwargsrepr = request.shape
        return request

    def _check_route(self, request: Request, shards: int) -> None:
        expected = route(request.org_id, request.agent_id, shards)
        if self.delivery_info.get("routing_key") != expected:
            raise InvalidRequestError.of("queue", f"this agent's requests belong in {expected}")

    def _let_body_go(self) -> None:
        """Forget the body in all its forms: the decoded request is kept, and one copy is enough."""
        nothing: dict[str, object] = {}
        self.request_dict.update(args=(), kwargs=nothing, **NO_CANVAS)
        self._args, self._kwargs, self._body = (), nothing, b""
        self._Request__payload: object = ((), nothing, nothing)
        message = self.message
        message.body, message._decoded_cache, message._raw = b"", None, None

    def announce(self) -> None:
        """Tell events and ``inspect`` that the worker has it."""
        self.send_event(
            "task-received",
            name=self.name,
            args=self._argsrepr,
            kwargs=self._kwargsrepr,
            root_id=self.root_id,
            parent_id=self.parent_id,
            retries=0,
            eta=None,
            expires=None,
        )
        state.task_reserved(self)

    def start(self, pid: int) -> None:
        """Tell that it runs."""
        self.started_s = time.monotonic()
        self.on_accepted(pid, self.started_s)

    def speak(self, outcome: Outcome) -> None:
        """Send the outcome through Celery's tracer, which has the result backend store it."""
        fast_trace_task(self.type, self.id, self.request_dict, ((outcome,), {}, NO_CANVAS), None, None)
        self.request_dict["args"] = ()

    def finish(self, outcome: Outcome) -> None:
        """Tell that it is over: its result is stored and its message acknowledged."""
        self.acknowledged = True
        failed = isinstance(outcome, MemoryRepoError)
        state.task_ready(self, successful=not failed)
        if failed:
            self.send_event("task-failed", exception=shape_of(outcome), traceback="")
        else:
            took_s = time.monotonic() - self.started_s if self.started_s is not None else 0.0
            self.send_event("task-succeeded", result=shape_of(outcome), runtime=took_s)

    def drop(self) -> None:
        """Acknowledge without an outcome of our own: a final result was there already."""
        state.task_ready(self)
        self.acknowledge()

    def forget(self) -> None:
        """Leave the message to its shard's next owner: it stays unacknowledged."""
        state.task_ready(self)

    def cancel(self, *_: object, **__: object) -> None:
        """Ignore Celery's wish to cancel what runs: a thread cannot be, and its message is safe."""

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002, ANN401 - celery's signature
        """Send an event over the connection that the consumer has now, not the one of the delivery."""
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None and dispatcher.enabled:
            dispatcher.send(type, uuid=self.id, **fields)


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """A ticket of the mailbox: a job, the request it carries, and its weight."""

    job: Job
    request: Request
    agent: Agent
    size_bytes: int


PARCEL_OVERHEAD_BYTES = 8 * 1024
"""What a parked request weighs besides its message, roughly."""


def parcel_of(job: Job, limits: Limits, shards: int) -> Parcel:
    """Read a job's request.

    Raises:
        InvalidRequestError: see ``Job.read``.
    """
    size_bytes = len(job.body or b"") + PARCEL_OVERHEAD_BYTES
    request = job.read(limits, shards)
    return Parcel(job, request, Agent(request.org_id, request.agent_id), size_bytes)
