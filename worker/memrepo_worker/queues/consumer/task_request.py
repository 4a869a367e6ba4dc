"""A request as Celery knows it: a message with an id, a state, events and an acknowledgement."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery import signals, states
from celery.app.trace import fast_trace_task
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from kombu.message import Message
from pydantic import ValidationError

from memrepo.clock import system_clock
from memrepo.errors import InvalidRequestError, MemoryRepoError, TooLargeError
from memrepo.limits import Limits
from memrepo.routing import route
from memrepo.tracing.context import carried
from memrepo.wire.operations import OPERATIONS, TASK_PREFIX, Operation, build, validate
from memrepo.wire.payload import Payload, PayloadClaim
from memrepo.wire.requests.base import Request
from memrepo.wire.versions import check_message_version
from memrepo_worker.group import Agent, Outcome, Success
from memrepo_worker.queues.consumer.consumer import MemrepoConsumer
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.ahead import ResultsAhead
from memrepo_worker.queues.results.payloads import size_bytes_max
from memrepo_worker.queues.script_call import ScriptCall
from memrepo_worker.queues.transport.messages import TEXT_CHARS_MAX, is_text

NO_CANVAS: dict[str, None] = {
    "callbacks": None,
    "errbacks": None,
    "chain": None,
    "chord": None,
    "group": None,
}
"""What a message may not ask of a worker: to send further messages of the message's choosing."""


_SENT_BY_TRACER = (
    signals.task_prerun,
    signals.task_postrun,
    signals.task_success,
    signals.task_failure,
    signals.task_internal_error,
)


def is_listened_to() -> bool:
    """Whether anybody hears the signals that Celery's tracer sends."""
    return any(signal.receivers for signal in _SENT_BY_TRACER)


class TaskRequest(CeleryRequest):
    """Celery's own request, showing shapes only. Its body is let go once it is decoded.

    ``owned_shard`` and ``number`` say under which ownership the message was delivered, and as which.
    """

    started_s: float | None = None
    agent: Agent | None = None
    request_id: str | None = None
    """Whose request it is and its id, once the message was read."""
    memory: Agent | None = None
    """Whose memory it is about, once it was opened."""
    queue_s: float = 0.0
    """How long it had waited when it was taken; by its producer's clock and ours."""
    mark: ScriptCall | None = None
    """The mark that it and the others of its group are started, while the answer to that is owed."""
    marked: ScriptCall | None = None
    """The mark once that was answered, with its connection: the results go over it, too."""
    marked_s: float | None = None
    """When that was sent."""
    prepared: ScriptCall | None = None
    """What tells the results of it and the others of its group, while it is written and not sent."""
    sent: ResultsAhead | None = None
    """The results of it and the others of its group, while the answer to having sent them is owed."""
    before: str = ""
    """The state that the job's record had when this worker began with it; "" for none."""
    retries: int = 0
    """How often this worker has set it aside, to try it again."""

    def __init__(
        self,
        message: Message,
        consumer: MemrepoConsumer,
        owned_shard: OwnedShard,
        number: str,
        **options: Any,
    ) -> None:
        _decode(message)
        super().__init__(
            message,
            app=consumer.app,
            hostname=consumer.hostname,
            connection_errors=consumer.connection_errors,
            **options,
        )
        self.name = self.type  # a message's own ``shadow`` may be anything, and monitors show it
        self._root_id, self._parent_id = _text_or_none(self.root_id), _text_or_none(self.parent_id)
        self.owned_shard = owned_shard
        self.number = number
        self.claim: PayloadClaim | None = None
        self.taken_s = time.monotonic()
        self._consumer = consumer

    def read(self, limits: Limits, shards: int) -> Agent:
        """Take in what the message carries: the request or how to get it; return who it is for.

        Raises:
            InvalidRequestError: it is of a newer version, carries neither, or lies in a queue that is not its agent's.
        """
        kwargs = self.request_dict.get("kwargs")
        self._argsrepr, self._kwargsrepr = "()", f"{len(self.body or b'')} bytes"
        try:
            check_message_version(self.request_dict)
            if not isinstance(kwargs, dict) or self.request_dict.get("args"):
                raise InvalidRequestError.of("request", "the task takes keyword arguments, request and body")
            self.claim = _claim_of(kwargs.get("body"), limits)
            return self._read_request(kwargs.get("request"), limits, shards)
        finally:
            self._let_body_go()

    def open(self, body: Payload, limits: Limits) -> Request:
        """Return the request, with the body that belongs to it.

        Raises:
            InvalidRequestError: it is not a valid one.
        """
        if self.claim is None:
            request = self._request
        elif not isinstance(body.value, dict):
            raise InvalidRequestError.of("body", "is no mapping")
        else:
            request = build(self.operation.request, body.contents, **{**body.value, **self._head})
            validate(request, limits)
        self.memory = Agent(*request.memory)
        return request

    @property
    def whole(self) -> Request | None:
        """What ``open`` returns, where that is at hand."""
        return self._request if self.claim is None else None

    @property
    def operation(self) -> Operation[Request, Any]:
        """What is asked for."""
        return OPERATIONS[self.type.removeprefix(TASK_PREFIX)]

    def _read_request(self, values: object, limits: Limits, shards: int) -> Agent:
        if not isinstance(values, dict):
            raise InvalidRequestError.of("request", "the task takes one as keyword argument")
        if self.claim is None:
            self._request = build(self.operation.request, **values)
            validate(self._request, limits)
            head: Request = self._request
            self._kwargsrepr = self._request.public_summary
        else:
            head = build(HeadRequest, **values)
            validate(head, limits)
            self._head = head.model_dump()
            self._kwargsrepr = f"{head.public_summary} {self.claim.size_bytes} bytes"
        self._check_route(head, shards)
        self.agent = Agent(head.org_id, head.agent_id)
        self.request_id = head.request_id
        self.queue_s = max(0.0, system_clock() - head.enqueued_at)
        return self.agent

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
        """Tell that it runs, since it was marked so."""
        self.started_s = self.marked_s or time.monotonic()
        self.on_accepted(pid, self.started_s)

    def record_result(self, result: object) -> None:
        """Have the result backend store a JSON value, a payload without contents, or an error."""
        if is_listened_to():
            result = result.value if isinstance(result, Payload) else result
            # Through Celery's tracer, although the work is done: so `task_prerun`, `task_postrun`, `task_success` and
            # `task_failure` are sent, on which monitoring of Celery (Sentry, OpenTelemetry) is built.
            fast_trace_task(self.type, self.id, self.request_dict, ((result,), {}, NO_CANVAS), None, None)
            self.request_dict["args"] = ()
        else:  # with nobody to hear of it, the tracer takes 5 % of a worker's time per commit for nothing, and more of
            # an error, as it describes all that the stack holds: who is refused often would slow all others
            if isinstance(result, Payload):
                self.record_written(result)
                return
            state_of = states.FAILURE if isinstance(result, MemoryRepoError) else states.SUCCESS
            self._app.backend.store_result(self.id, result, state_of, request=self._context)

    def record_written(self, payload: Payload) -> None:
        """Have the result backend store a payload without contents, of whose task no signal is sent."""
        self._app.backend.store_written(self.id, payload, self._context)

    def retry(self) -> None:
        """Tell that it waits for the store."""
        self.retries += 1
        self.send_event(
            "task-retried", exception="StoreUnavailableError()", traceback="", retries=self.retries
        )

    def finish(self, outcome: Outcome, runtime_s: float) -> None:
        """Tell that it is over: its result is stored and its message acknowledged."""
        self.acknowledged = True
        state.task_ready(self, successful=isinstance(outcome, Success))
        if isinstance(outcome, Success):
            self.send_event("task-succeeded", result=self.summary_of(outcome), runtime=runtime_s)
        else:
            self.send_event("task-failed", exception=repr(outcome), traceback="", runtime=runtime_s)

    def summary_of(self, success: Success) -> str:
        """Return what logs, events and Flower may show of its result."""
        return self.operation.public_summary(success.value)

    def drop(self) -> None:
        """Tell how it is over: by what its record said before. Its message is acknowledged."""
        self.acknowledged = True
        state.task_ready(self)
        if self.before == states.REVOKED:
            how = {"terminated": False, "signum": None, "expired": self.is_overdue}
            self.send_event("task-revoked", **how)
            signals.task_revoked.send(sender=self.task, request=self._context, **how)
        else:  # whoever stored that result may have died before it could tell
            self.send_event("task-started")
            self.send_event("task-succeeded" if self.before == states.SUCCESS else "task-failed")

    def send_back(self) -> None:
        """Tell that its body is lost: it waits to be sent again. Its message is acknowledged."""
        self.acknowledged = True
        state.task_ready(self)
        self.send_event("task-retried", exception="PayloadMissingError()", traceback="")

    def give_back(self) -> None:
        """Tell that it goes back to its queue: its message stays unacknowledged, for the shard's next owner."""
        state.task_ready(self)
        if self.started_s is None:
            self.send_event("task-rejected", requeue=True)
        else:
            self.send_event("task-retried", exception="StoppedError()", traceback="")

    def forget(self) -> None:
        """Leave message and record to the shard's owner, who is another one by now and tells the rest."""
        state.task_ready(self)

    def cancel(self, *_: object, **__: object) -> None:
        """Ignore Celery's wish to cancel what runs: a thread cannot be, and its message is safe."""

    def terminate(self, *_: object, **__: object) -> None:
        """Ignore Celery's wish to terminate what runs, likewise."""

    def revoked(self) -> bool:
        """Ignore what this worker remembers of revoked tasks: the job's record decides (``responder.begin``)."""
        return False

    @property
    def trace_headers(self) -> Mapping[str, str]:
        """Which span it comes from, as its message says it."""
        return carried(self.request_dict)

    @property
    def is_at_hand(self) -> bool:
        """Whether it can be opened without asking anybody, and its sender set no end to its waiting that is over."""
        return self.claim is None and not self.is_overdue

    @property
    def is_overdue(self) -> bool:
        """Whether its sender set an end to its waiting (Celery's ``expires``), and that is over."""
        return self.expires is not None and bool(self.expires.timestamp() < system_clock())

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - celery's signature
        """Send an event over the connection that the consumer has now, not the one of the delivery."""
        self._consumer.intake.events.send(type, self.id, **fields)


class HeadRequest(Request):
    """What a message says of a request whose body travels beside it."""

    def check_fields(self, limits: Limits) -> None:
        """Nothing more to check."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestTicket:
    """A ticket of the mailbox: a job and its weight, and once it is opened the request that it carries."""

    task_request: TaskRequest
    agent: Agent
    size_bytes: int
    opened: Request | None = None

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.task_request.id)

    @property
    def at_hand(self) -> Request | None:
        """The request, where it came whole with its message."""
        return self.task_request.whole

    @property
    def ends_group(self) -> bool:
        """Whether nothing after it may share its journal entry."""
        return self.task_request.operation.request.ENDS_GROUP

    @property
    def trace_headers(self) -> Mapping[str, str]:
        """Which span it comes from, as its message says it."""
        return self.task_request.trace_headers

    @property
    def request(self) -> Request:
        """The request; only of an opened ticket."""
        if self.opened is None:
            raise LookupError("a ticket that is not opened")
        return self.opened

    def opened_as(self, request: Request) -> RequestTicket:
        """Return it opened."""
        return RequestTicket(self.task_request, self.agent, self.size_bytes, request)


TICKET_OVERHEAD_BYTES = 8 * 1024
"""What a parked request weighs besides its message, roughly."""


def ticket_of(task_request: TaskRequest, limits: Limits, shards: int) -> RequestTicket:
    """Read a job's message.

    Raises:
        InvalidRequestError: see ``TaskRequest.read``.
    """
    size_bytes = len(task_request.body or b"") + TICKET_OVERHEAD_BYTES
    agent = task_request.read(limits, shards)
    return RequestTicket(
        task_request, agent, size_bytes + (task_request.claim.size_bytes if task_request.claim else 0)
    )


def _decode(message: Message) -> None:
    """Decode a message's body as kombu would, which calls Python for each object; what is no JSON is left to it."""
    if message.content_type == "application/json" and message.content_encoding == "utf-8":
        with suppress(ValueError, TypeError, RecursionError):
            message._decoded_cache = json.loads(message.body)


def _text_or_none(value: object) -> str | None:
    """Return an id that a message says, if it is one: monitors are told of it."""
    return value if is_text(value, TEXT_CHARS_MAX) else None


def _claim_of(value: object, limits: Limits) -> PayloadClaim | None:
    """Return what a message says of its body, if it has one."""
    if value is None:
        return None
    try:
        claim = PayloadClaim.model_validate(value)
    except ValidationError:
        raise InvalidRequestError.of("body", "does not say its chunks and size_bytes") from None
    if claim.size_bytes > size_bytes_max(limits):
        raise TooLargeError.of(
            "body",
            f"is {claim.size_bytes} bytes, more than request_bytes_max ({limits.request_bytes_max}) allows",
        )
    return claim
