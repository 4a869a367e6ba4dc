"""An inline worker's requests: tickets of its mailbox, and where the mailbox says what becomes of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from memrepo.errors import InvalidRequestError, MemoryRepoError, StoreUnavailableError, from_wire
from memrepo.jobs.pending import Pending, closed
from memrepo.limits import Limits
from memrepo.wire.operations import Operation, build, request_to_payload, validate
from memrepo.wire.payload import decode, encode
from memrepo.wire.record import Record, Status
from memrepo.wire.requests.base import HEAD_FIELDS, Request
from memrepo_worker.group import Agent, Outcome
from memrepo_worker.observe import TurnTimes
from memrepo_worker.trouble import WaitReason


class InlineRequest:
    """A ticket of the mailbox: one request on its way, and what its clients know of it."""

    def __init__(self, operation: Operation[Any, Any], request: Request, task_id: str) -> None:
        self.id = task_id
        self.operation = operation
        self.agent = Agent(request.org_id, request.agent_id)
        self.ends_group = request.ENDS_GROUP
        self.trace_headers: Mapping[str, str] = {}  # whoever calls has its spans about the whole of it
        self.at_hand: Request | None = None  # what runs is made when it is opened
        self.size_bytes = request.size_bytes
        self.pending: Pending[Any] = Pending(task_id, lambda body, _: operation.result_from_payload(body))
        self.request = request
        self.record = Record(task_id, "queued", None)
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._claimed = False

    def claim(self) -> bool:
        """Return whether the caller is the first who wants it: to run it, or to cancel it."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def open(self, limits: Limits) -> None:
        """Have the request as it would arrive over the queue.

        Raises:
            InvalidRequestError: the worker's limits do not let it through.
        """
        body = request_to_payload(self.request)
        arrived = decode(encode(body, compress=False), body.size_bytes)
        head = json.loads(self.request.model_dump_json(include=set(HEAD_FIELDS)))
        self.request = build(type(self.request), arrived.contents, **arrived.value, **head)
        validate(self.request, limits)

    def record_status(self, status: Status, why: MemoryRepoError | None = None) -> None:
        """Take note of how far it is, and why no further, as a worker's record of it says."""
        result = None if why is None else {"exc_type": type(why).__name__, "exc_message": [*why.args]}
        self.record = Record(self.pending.task_id, status, result)
        self.pending.settle(self.record)
        if status == "cancelled":
            self.ended.set()

    def settle(self, outcome: Outcome) -> None:
        """End it with an outcome as it would come back over the queue."""
        if isinstance(outcome, MemoryRepoError):
            details = json.loads(json.dumps(outcome.details))
            self.pending.fail(from_wire(type(outcome).__name__, outcome.message, details))
        else:
            body = self.operation.result_to_payload(outcome.value)
            self.pending.finish(decode(encode(body, compress=False), body.size_bytes))
        self.ended.set()

    def fail(self, fault: Exception) -> None:
        """End it by a fault of the worker's; on a queue it would be delivered again, here nobody would ever answer."""
        error = MemoryRepoError(
            f"The inline worker failed by a fault of its own: {type(fault).__name__}: {fault}",
            {"request_id": self.request.request_id},
        )
        error.__cause__ = fault
        self.pending.fail(error)
        self.ended.set()

    def abandon(self) -> None:
        """End it without an outcome: the worker has ended."""
        self.pending.fail(closed(self.pending.task_id), self.pending.status)
        self.ended.set()


class InlineResponder:
    """Where the mailbox says what becomes of requests; see ``memrepo_worker.scheduling.mailbox.Responder``.

    ``unavailable`` are the agents whose requests wait for a store that fails.
    """

    def __init__(self, limits: Limits, on_change: Callable[[Agent], None]) -> None:
        """``on_change`` is called when something was written."""
        self.unavailable: set[Agent] = set()
        self._on_change = on_change
        self._limits = limits

    def begin(self, tickets: Sequence[InlineRequest]) -> list[InlineRequest]:
        """Return those that shall run: neither cancelled nor refused."""
        return [ticket for ticket in tickets if ticket.claim() and self._open(ticket)]

    def confirm(self, tickets: Sequence[InlineRequest]) -> Sequence[InlineRequest]:
        """Return them: all of them are marked already."""
        return tickets

    def prepare_answers(self, *_: object, **__: object) -> Callable[[], None]:
        """Tell nothing ahead of ``settle``: it takes no time here."""
        return lambda: None

    def _open(self, ticket: InlineRequest) -> bool:
        try:
            ticket.open(self._limits)
            ticket.record_status("running")
        except InvalidRequestError as error:
            ticket.settle(error)
        except Exception as fault:  # noqa: BLE001 - the test that waits for it is told, and does not hang
            ticket.fail(fault)
        else:
            return True
        return False

    def retrying(self, tickets: Sequence[InlineRequest], waiting: WaitReason) -> None:
        """Note that the store fails, for what reason, and that the requests are tried again."""
        why = StoreUnavailableError(waiting.reason, {"since": waiting.since_s})
        self.unavailable.add(tickets[0].agent)
        for ticket in tickets:
            ticket.record_status("retrying", why)

    def settle(
        self,
        tickets: Sequence[InlineRequest],
        outcomes: Sequence[Outcome],
        times: TurnTimes,  # noqa: ARG002 - the mailbox's signature; nobody asks how long a test took
    ) -> None:
        """Tell the clients the outcomes."""
        self.unavailable.discard(tickets[0].agent)
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            try:
                ticket.settle(outcome)
            except Exception as fault:  # noqa: BLE001 - as above
                ticket.fail(fault)
        if any(ticket.operation.request.MUTATES for ticket in tickets):
            self._on_change(Agent(*tickets[0].request.memory))

    def abandon(self, tickets: Sequence[InlineRequest]) -> None:
        """Tell the clients that nothing will come."""
        for ticket in tickets:
            ticket.abandon()
