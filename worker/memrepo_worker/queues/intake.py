"""The way in: a message becomes a parked request; and out: an outcome becomes a task's result."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random  # noqa: TID251 - the type alone: the generator itself is passed in
from typing import Any

from celery import Celery, bootsteps
from celery.worker.consumer import Consumer

from memrepo.errors import InvalidRequestError
from memrepo_worker.attempts import Attempts
from memrepo_worker.group import Agent, GroupHandler, Lease, Outcome
from memrepo_worker.mailbox import Mailbox, MailboxBounds
from memrepo_worker.observe import Counters, Observer
from memrepo_worker.queues.jobs import Job, Parcel, parcel_of
from memrepo_worker.queues.refusals import refuse
from memrepo_worker.queues.results import ResultBackend, Waiting
from memrepo_worker.settings import WorkerSettings


class Desk:
    """Tells Celery what becomes of parked requests, a group at a time."""

    def __init__(self, backend: ResultBackend, worker: str, observer: Observer) -> None:
        self._backend = backend
        self._worker = worker
        self._observer = observer
        self._pid = os.getpid()

    def begin(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Mark the requests as started; drop those that were cancelled or have a final result already."""
        wanted = [parcel for parcel in parcels if not parcel.job.revoked()]
        if not wanted:
            return []
        open_ = self._backend.store_started([_waiting(parcel) for parcel in wanted], self._worker)
        for parcel, is_open in zip(wanted, open_, strict=True):
            if is_open:
                parcel.job.start(self._pid)
            else:
                self._observer.count("intake.settled_before")
                parcel.job.drop()
        return [parcel for parcel, is_open in zip(wanted, open_, strict=True) if is_open]

    def retrying(self, parcels: Sequence[Parcel]) -> None:
        """Mark the requests as waiting for the store."""
        self._backend.store_retrying([_waiting(parcel) for parcel in parcels])
        for parcel in parcels:
            parcel.job.send_event("task-retried", exception="StoreUnavailableError()", traceback="")

    def settle(self, parcels: Sequence[Parcel], outcomes: Sequence[Outcome]) -> None:
        """Store each outcome as its task's result and acknowledge the messages."""
        for parcel, outcome in zip(parcels, outcomes, strict=True):
            parcel.job.finish(outcome)

    def abandon(self, parcels: Sequence[Parcel]) -> None:
        """Leave the requests unacknowledged: whoever owns their shard next will have them again."""
        for parcel in parcels:
            parcel.job.forget()


def _waiting(parcel: Parcel) -> Waiting:
    return Waiting(parcel.job.id, parcel.job.reply_to)


class Intake(bootsteps.StartStopStep):  # type: ignore[misc]  # celery ships no types
    """The consumer's step that owns the mailbox. Celery stops and starts it at every reconnect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(
        self,
        consumer: Consumer,
        *,
        settings: WorkerSettings,
        handler: GroupHandler,
        counters: Counters,
        random: Random,
        lease_of: Callable[[Agent], Lease],
        **options: Any,  # noqa: ANN401 - whatever else Celery's worker was started with
    ) -> None:
        super().__init__(consumer, **options)
        self.settings = settings
        self.counters = counters
        self.mailbox: Mailbox[Parcel] = Mailbox(
            handler,
            Desk(consumer.app.backend, consumer.hostname, counters),
            attempts=Attempts(lease_of, random, counters),
            submit=lambda work: consumer.pool.apply_async(work, callback=_nothing),
            observer=counters,
            bounds=MailboxBounds(
                settings.group_requests_max,
                settings.group_bytes_max,
                settings.parked_bytes_max,
                settings.concurrency,
            ),
        )
        consumer.intake = self

    def start(self, consumer: Consumer) -> None:
        """Stop taking messages from the broker while the mailbox is full."""
        qos = consumer.task_consumer.channel.qos
        can_consume = qos.can_consume
        qos.can_consume = lambda: not self.mailbox.full and can_consume()

    def stop(self, consumer: Consumer) -> None:
        """Nothing: what is parked stays parked over a reconnect."""

    def close(self, consumer: Consumer) -> None:  # noqa: ARG002 - Celery's signature
        """Begin no further group; the pool's end waits for those under way."""
        self.mailbox.stop()

    def take(self, job: Job) -> None:
        """Park a request, or settle it at once if it is not a valid one."""
        if job.revoked():
            return
        try:
            parcel = parcel_of(job, self.settings.limits, self.settings.shards)
        except InvalidRequestError as error:
            self.counters.count("intake.refused")
            job.announce()
            job.finish(error)
            return
        job.announce()
        self.mailbox.park(parcel)


def _nothing(_: object) -> None:
    """Take the result of a turn, which is nothing."""


def strategy(task: Any, app: Celery, consumer: Consumer) -> Callable[..., None]:  # noqa: ANN401
    """Build Celery's handler for messages of one of our tasks; it runs in the consumer's thread, in order."""
    intake: Intake = consumer.intake

    def on_message(
        message: Any,  # noqa: ANN401 - kombu's
        _payload: object,
        ack: Callable[..., None],
        reject: Callable[..., None],
        _callbacks: object,
    ) -> None:
        try:
            job = Job(
                message,
                on_ack=ack,
                on_reject=reject,
                app=app,
                hostname=consumer.hostname,
                eventer=consumer.event_dispatcher,
                task=task,
                connection_errors=consumer.connection_errors,
            )
        except Exception as error:  # noqa: BLE001 - whatever a forged message does, the queue goes on
            refuse(consumer, message, error)
            return
        intake.take(job)

    return on_message
