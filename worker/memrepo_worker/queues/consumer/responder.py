"""The way out: what the mailbox says of parked requests becomes the state of Celery tasks."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter

from celery.states import READY_STATES, REVOKED
from redis import RedisError

from memrepo.errors import (
    InvalidRequestError,
    JobCancelledError,
    MemoryRepoError,
    StoreUnavailableError,
)
from memrepo.limits import Limits
from memrepo.wire.keys import changes_channel
from memrepo.wire.payload import LARGE_BYTES, Payload
from memrepo.wire.payload_store import PayloadMissingError
from memrepo_worker.group import Outcome, Success
from memrepo_worker.observe import Observer, TurnTimes
from memrepo_worker.queues.consumer.ended import request_ended, share_s, trace_request
from memrepo_worker.queues.consumer.task_request import RequestTicket, TaskRequest, is_listened_to
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.ahead import ResultsAhead
from memrepo_worker.queues.results.backend import ResultBackend
from memrepo_worker.queues.results.payloads import Payloads
from memrepo_worker.queues.results.records import StoredResult, Waiting
from memrepo_worker.queues.transport.messages import Messages
from memrepo_worker.threads.giving_way import give_way
from memrepo_worker.trouble import WaitReason

logger = logging.getLogger(__name__)


MARKED_AHEAD_MAX = 128
"""So many requests are marked together without waiting for it: 40 KB, whose answer, under a KB, waits in a buffer."""

SENT_AHEAD_BYTES_MAX = LARGE_BYTES
"""So are their results, up to this size in all."""


class Responder:
    """Answers requests, a group at a time.

    ``messages`` is None where the broker's database keeps the results too: then result and acknowledgement are one
    step.
    """

    def __init__(
        self,
        backend: ResultBackend,
        payloads: Payloads,
        limits: Limits,
        messages: Messages | None,
        worker: str,
        observer: Observer,
    ) -> None:
        self._backend = backend
        self._payloads = payloads
        self._limits = limits
        self._messages = messages
        self._worker = worker
        self._observer = observer
        self._pid = os.getpid()

    def begin(self, tickets: Sequence[RequestTicket]) -> list[RequestTicket]:
        """Mark the requests as started, and open them; drop those that were cancelled or have a result.

        Nothing is published or told that was not marked: the mark and the look at what the record said are one step in
        Redis. Where they can be opened without it, its answer is waited for when it is asked to ``confirm``.
        """
        task_requests = [ticket.task_request for ticket in tickets]
        if len(tickets) <= MARKED_AHEAD_MAX and all(one.is_at_hand for one in task_requests):
            waiting = [_waiting(one) for one in task_requests]
            for one in task_requests:
                one.marked_s = time.monotonic()
            task_requests[0].mark = self._backend.begin_started(waiting, self._worker)
        if task_requests[0].mark is not None:
            return [
                ticket.opened_as(ticket.task_request.open(Payload({}), self._limits)) for ticket in tickets
            ]
        running = self._start(task_requests)
        return [
            opened
            for ticket in tickets
            if ticket.task_request in running and (opened := self._open(ticket)) is not None
        ]

    def confirm(self, tickets: Sequence[RequestTicket]) -> Sequence[RequestTicket]:
        """Wait until Redis says that the requests are marked; drop those that were cancelled or have a result."""
        task_requests = [ticket.task_request for ticket in tickets]
        mark = task_requests[0].mark
        if mark is None:
            return tickets
        waiting = [_waiting(one) for one in task_requests]
        try:
            running = self._started(task_requests, self._backend.end_started(mark, waiting, self._worker))
        except BaseException:  # it is asked for anew by the next try, over another connection
            mark.abandon()
            raise
        task_requests[0].mark = None
        if len(running) == len(tickets):
            task_requests[0].marked = mark
        else:
            mark.abandon()
        return [ticket for ticket in tickets if ticket.task_request in running]

    def refuse(self, refused: Sequence[tuple[TaskRequest, MemoryRepoError]]) -> None:
        """Fail jobs whose messages are no valid requests, unless they were cancelled or have a result."""
        self._payloads.remove_unread([task_request.id for task_request, _ in refused])
        running = self._start([task_request for task_request, _ in refused])
        failed = [(task_request, error) for task_request, error in refused if task_request in running]
        if failed:
            self.answer([task_request for task_request, _ in failed], [error for _, error in failed])

    def _start(self, task_requests: Sequence[TaskRequest]) -> set[TaskRequest]:
        """Mark jobs as started; return those that were not over before, and have done with the others."""
        for task_request in task_requests:
            if task_request.is_overdue:
                self._backend.until_done(self._backend.cancel, (task_request.id,))
        waiting = [_waiting(task_request) for task_request in task_requests]
        return self._started(task_requests, self._backend.store_started(waiting, self._worker))

    def _started(self, task_requests: Sequence[TaskRequest], before: Sequence[str]) -> set[TaskRequest]:
        """Tell of jobs that they run, if what their records said ``before`` lets them; return those."""
        over: list[TaskRequest] = []
        for task_request, found in zip(task_requests, before, strict=True):
            task_request.before = found
            if found in READY_STATES:
                over.append(task_request)
            else:
                task_request.start(self._pid)
        if not over:
            return set(task_requests)
        self._drop(over)
        return set(task_requests).difference(over)

    def _drop(self, task_requests: Sequence[TaskRequest]) -> None:
        """Have done with jobs whose record says how they ended."""
        self._observer.count("responder.settled_before", len(task_requests))
        self._payloads.remove(task_requests)
        for owned_shard, group in groupby(task_requests, key=attrgetter("owned_shard")):
            dropped = list(group)
            if self._finish(owned_shard, _numbers(dropped), ()):
                for task_request in dropped:
                    task_request.drop()
                    if task_request.before == REVOKED:
                        self._tell_ended(task_request, JobCancelledError("cancelled"))
            else:
                self._leave_to_owner(dropped)

    def _open(self, ticket: RequestTicket) -> RequestTicket | None:
        """Return a ticket with its request, or None when there is none to be had: then its job has ended."""
        task_request = ticket.task_request
        give_way()
        try:
            return ticket.opened_as(task_request.open(self._payloads.fetch(task_request), self._limits))
        except InvalidRequestError as error:
            self._observer.count("intake.refused")
            self.answer([task_request], [error])
        except PayloadMissingError:
            self._observer.count("responder.payloads_missing")
            logger.warning(
                "request %s has lost its body: its producer, if it waits, sends it again", task_request.id
            )
            self._backend.take_back_started(_waiting(task_request), self._worker, task_request.before)
            if self._finish(task_request.owned_shard, _numbers([task_request]), ()):
                task_request.send_back()
            else:
                self._leave_to_owner([task_request])
        return None

    def retrying(self, tickets: Sequence[RequestTicket], why: WaitReason) -> None:
        """Mark the requests as waiting for the store, with the reason and since when."""
        error = StoreUnavailableError(why.reason, {"since": why.since_s})
        task_requests = [ticket.task_request for ticket in tickets]
        self._let_go(task_requests[0])  # it may be long until the next try, and there may be many
        before = self._backend.store_retrying(
            [_waiting(task_request) for task_request in task_requests], error
        )
        for task_request, found in zip(task_requests, before, strict=True):
            if found not in READY_STATES:  # else another owner has settled it meanwhile
                task_request.retry()

    def prepare_answers(
        self, tickets: Sequence[RequestTicket], outcomes: Sequence[Outcome]
    ) -> Callable[[], None]:
        """Write the results of a whole group; what is returned sends them, and ``settle`` waits for the answer to that.

        Where it would take more than the one step, nothing is sent before ``settle``.
        """
        task_requests = [ticket.task_request for ticket in tickets]
        first = task_requests[0]
        self._let_go_of_answers(first)
        if self._messages is not None or not _is_one_step(task_requests, outcomes):
            return _nothing
        settled = list(zip(task_requests, outcomes, strict=True))
        with self._backend.collecting() as results:
            for task_request, outcome in settled:
                if isinstance(outcome, Success) and outcome.payload is not None:
                    task_request.record_written(outcome.payload)
        finish = (results, first.owned_shard, _numbers(task_requests), _channel_of_changes(settled))
        call = self._backend.prepare_finish(*finish)
        first.prepared = call
        with suppress(RedisError, OSError):  # then it is asked for where it is sent
            call.take_connection(first.marked)

        def send() -> None:
            first.prepared = None
            with suppress(RedisError, OSError):  # then ``settle`` sends all
                call.send()
                again = partial(self._backend.finish, *finish)
                first.sent = ResultsAhead([one.id for one in task_requests], call, again)

        return send

    def _let_go(self, task_request: TaskRequest) -> None:
        """Have nothing to do any more with the calls of its group."""
        marked, task_request.marked = task_request.marked, None
        if marked is not None:
            marked.abandon()
        self._let_go_of_answers(task_request)

    def _let_go_of_answers(self, task_request: TaskRequest) -> None:
        """Have nothing to do any more with what was prepared, or sent, of the results of its group."""
        prepared, task_request.prepared = task_request.prepared, None
        if prepared is not None:
            prepared.abandon()
        sent, task_request.sent = task_request.sent, None
        if sent is not None:
            sent.call.abandon()

    def settle(self, tickets: Sequence[RequestTicket], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        """Store the outcomes as the tasks' results and acknowledge the messages."""
        self.answer([ticket.task_request for ticket in tickets], outcomes, times)

    def abandon(self, tickets: Sequence[RequestTicket]) -> None:
        """Leave the requests unacknowledged: whoever owns their shard next will have them again."""
        self._observer.count("requests.given_back", len(tickets))
        for ticket in tickets:
            self._let_go(ticket.task_request)
            ticket.task_request.give_back()

    def answer(
        self,
        task_requests: Sequence[TaskRequest],
        outcomes: Sequence[Outcome],
        times: TurnTimes | None = None,
    ) -> None:
        """Settle jobs; what is not ours any more is left to its new owner."""
        pairs = zip(task_requests, outcomes, strict=True)
        for owned_shard, group in groupby(pairs, key=lambda pair: pair[0].owned_shard):
            settled = list(group)
            if self._store(owned_shard, settled):
                self._payloads.remove([task_request for task_request, _ in settled])
                for task_request, outcome in settled:
                    task_request.finish(outcome, share_s(task_request, times, len(task_requests)))
                    self._tell_ended(task_request, outcome, times, len(task_requests))
            else:
                self._leave_to_owner([task_request for task_request, _ in settled])

    def _store(self, owned_shard: OwnedShard, settled: Sequence[tuple[TaskRequest, Outcome]]) -> bool:
        """Store results and acknowledge their messages; False where the shard has another owner by now."""
        numbers = _numbers([task_request for task_request, _ in settled])
        first = settled[0][0]
        sent = first.sent
        if sent is not None and sent.is_of(
            [one.id for one, outcome in settled if isinstance(outcome, Success)]
        ):
            first.sent = None
            finished = sent.end()
            owned_shard.delivered.difference_update(numbers)
            return finished
        self._let_go(first)
        return self._finish(owned_shard, numbers, self._results_of(settled), _channel_of_changes(settled))

    def _results_of(self, settled: Sequence[tuple[TaskRequest, Outcome]]) -> list[StoredResult]:
        with self._backend.collecting() as results:
            for task_request, outcome in settled:
                give_way()
                task_request.record_result(
                    self._payloads.encode_result(task_request, task_request.operation, outcome)
                )
        return results

    def _tell_ended(
        self, task_request: TaskRequest, outcome: Outcome, times: TurnTimes | None = None, group: int = 1
    ) -> None:
        trace = times.trace if times is not None else None
        if trace is None and not self._observer.hears_requests:
            return
        ended = request_ended(task_request, outcome, times, group)
        self._observer.request_ended(ended)
        if trace is not None:
            trace_request(ended, trace, task_request)

    def _leave_to_owner(self, task_requests: Sequence[TaskRequest]) -> None:
        self._observer.count("responder.lost", len(task_requests))
        for task_request in task_requests:
            task_request.forget()

    def _finish(
        self,
        owned_shard: OwnedShard,
        numbers: Mapping[str, str],
        results: Sequence[StoredResult],
        tell: str = "",
    ) -> bool:
        if self._messages is None:
            finished = self._backend.finish(results, owned_shard, numbers, tell)
        else:
            self._backend.store_all(results, tell)
            finished = self._backend.ensure_acknowledged(self._messages, owned_shard, numbers)
        owned_shard.delivered.difference_update(numbers)
        return finished


def _is_one_step(task_requests: Sequence[TaskRequest], outcomes: Sequence[Outcome]) -> bool:
    """Whether all successes are stored by one script that nobody need wait for: small, of one shard, and unheard."""
    payloads = [outcome.payload for outcome in outcomes if isinstance(outcome, Success)]
    small = [one.size_bytes for one in payloads if one is not None and not one.contents]
    return (
        len(small) == len(task_requests) <= MARKED_AHEAD_MAX
        and sum(small) <= SENT_AHEAD_BYTES_MAX
        and all(one.owned_shard is task_requests[0].owned_shard for one in task_requests)
        and not is_listened_to()
    )


def _nothing() -> None:
    """There is nothing to send."""


def _channel_of_changes(settled: Sequence[tuple[TaskRequest, Outcome]]) -> str:
    """Return where it is told that requests, all about one memory, have written to it; "" if none has."""
    for task_request, outcome in settled:
        memory = task_request.memory
        if isinstance(outcome, Success) and memory is not None and task_request.operation.request.MUTATES:
            return changes_channel(memory.org_id, memory.agent_id)
    return ""


def _numbers(task_requests: Sequence[TaskRequest]) -> dict[str, str]:
    return {one.number: str(one.agent or "") for one in task_requests}


def _waiting(task_request: TaskRequest) -> Waiting:
    return Waiting(task_request.id, task_request.reply_to)
