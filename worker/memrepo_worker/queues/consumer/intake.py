"""The way in: a message becomes a parked request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Protocol

from celery import Celery, bootsteps
from kombu.message import Message
from redis import Redis

from memrepo.errors import InvalidRequestError
from memrepo.routing import shard_of
from memrepo_worker.group import Agent, GroupHandler, Lease
from memrepo_worker.observe import Counters
from memrepo_worker.queues.consumer.consumer import MemrepoConsumer, refuse, task_id_of
from memrepo_worker.queues.consumer.events import TaskEvents
from memrepo_worker.queues.consumer.refusals import Refusals
from memrepo_worker.queues.consumer.responder import Responder
from memrepo_worker.queues.consumer.task_request import RequestTicket, TaskRequest, ticket_of
from memrepo_worker.queues.results.payloads import KeepingRules, Payloads
from memrepo_worker.queues.transport.context import ShardContext
from memrepo_worker.queues.transport.messages import read_tag
from memrepo_worker.scheduling.attempts import RetryRules
from memrepo_worker.scheduling.mailbox import Mailbox
from memrepo_worker.scheduling.mailbox_bounds import MailboxBounds
from memrepo_worker.settings import WorkerSettings


class Intake(bootsteps.StartStopStep):
    """The consumer's step that owns the mailbox. Celery stops and starts it at every reconnect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(
        self,
        consumer: MemrepoConsumer,
        *,
        settings: WorkerSettings,
        handler: GroupHandler,
        counters: Counters,
        random: Random,
        broker_client: Redis,
        shard_context: ShardContext,
        **options: Any,
    ) -> None:
        super().__init__(consumer, **options)
        self.settings = settings
        self.counters = counters
        self.owned_shards = shard_context.owned_shards
        self.events = TaskEvents(consumer, partial(_later, consumer))
        together = settings.broker_url == settings.result_url
        on_room = partial(consumer.call_soon, _nothing, None)
        backend = consumer.app.backend
        self.payloads = Payloads(
            broker_client,
            backend.client,
            backend.until_done,
            settings.limits,
            counters,
            KeepingRules(
                bytes_max=settings.bodies_bytes_max,
                agent_results_bytes_max=settings.bounds.agent_results_bytes_max,
                result_kept_s=settings.result_body_expires_s,
                kept_at=str(settings.results),
                together=together,
            ),
        )
        self.responder = Responder(
            backend,
            self.payloads,
            settings.limits,
            None if together else shard_context.messages,
            consumer.hostname,
            counters,
        )
        self.mailbox: Mailbox[RequestTicket] = Mailbox(
            handler,
            self.responder,
            rules=RetryRules(self._lease_of, random, counters, worker=consumer.hostname),
            submit=lambda work: lend_thread(consumer.pool, work),
            bounds=_mailbox_bounds(settings),
            on_room=on_room,
            is_ours=self._is_ours,
        )
        self.refusals = self._refuse_beside(consumer, shard_context, on_room, together=together)
        consumer.intake = self

    def _refuse_beside(
        self,
        consumer: MemrepoConsumer,
        shard_context: ShardContext,
        on_room: Callable[[], object],
        *,
        together: bool,
    ) -> Refusals:
        refusals = Refusals(
            consumer.app.backend,
            shard_context.messages,
            self.responder,
            self.events,
            self.counters,
            together=together,
            on_room=on_room,
        )
        shard_context.refuse = refusals.refuse
        return refusals

    def start(self, consumer: MemrepoConsumer) -> None:
        """Have the broker's channel deliver only while there is room."""
        consumer.task_consumer.channel.qos.may_take = lambda: not self.mailbox.full and not self.refusals.full
        self.events.resume()

    def stop(self, consumer: MemrepoConsumer) -> None:
        """Nothing: what is parked stays parked over a reconnect."""

    def take(self, task_request: TaskRequest) -> None:
        """Park a request, or have it refused if it is not a valid one."""
        try:
            ticket = ticket_of(task_request, self.settings.limits, self.settings.shards)
        except InvalidRequestError as error:
            task_request.announce()
            self.refusals.refuse_request(task_request, error)
            return
        task_request.announce()
        self.mailbox.park(ticket)

    def let_go(self, agents: Callable[[Agent], bool]) -> None:
        """Forget the parked requests of these agents; their messages stay unacknowledged."""
        self.responder.abandon(self.mailbox.withdraw(agents))

    def _is_ours(self, agent: Agent) -> bool:
        owned_shard = self.owned_shards.get(shard_of(agent.org_id, agent.agent_id, self.settings.shards))
        return owned_shard is not None and owned_shard.is_open

    def _lease_of(self, agent: Agent) -> Lease:
        return self.owned_shards.lease(shard_of(agent.org_id, agent.agent_id, self.settings.shards))


def _mailbox_bounds(settings: WorkerSettings) -> MailboxBounds:
    return MailboxBounds(
        settings.group_requests_max,
        settings.group_bytes_max,
        settings.parked_bytes_max,
        settings.concurrency,
        settings.bounds.hanging_turns_max,
    )


class Pool(Protocol):
    """What is needed of Celery's pool of threads."""

    def apply_async(self, target: Callable[[], None], *, callback: Callable[[object], None]) -> object:
        """Have some work done by a thread."""
        ...


def lend_thread(pool: Pool, work: Callable[[], None]) -> None:
    """Have some work done by a thread of the pool; where it gets no further one, by those that it has.

    It raises then, and has queued the work all the same: whoever took that for a refusal would leave its own undone.
    """
    with suppress(RuntimeError):  # or the pool is closing: nothing is begun any more
        pool.apply_async(work, callback=_nothing)


def _later(consumer: MemrepoConsumer, seconds: float, work: Callable[[], None]) -> None:
    """Have something done by Celery's loop after so long; from any thread, while its timer is of the loop's alone."""
    consumer.call_soon(partial(consumer.timer.call_after, seconds, work))


def _nothing(_: object) -> None:
    """Take the result of a turn, which is nothing."""


def strategy(task: object, app: Celery, consumer: MemrepoConsumer) -> Callable[..., None]:  # noqa: ARG001 - Celery's
    """Build Celery's handler for messages of one of our tasks; it runs in the consumer's thread, in order."""
    intake = consumer.intake

    def on_message(
        message: Message,
        _payload: object,
        ack: Callable[..., None],
        reject: Callable[..., None],
        _callbacks: object,
    ) -> None:
        shard, number = read_tag(message.delivery_tag) or (None, "")
        if shard is None or task_id_of(message) is None:
            refuse(consumer, message, None)  # somebody had us consume a queue that is no shard's
            return
        owned_shard = intake.owned_shards.get(shard)
        if owned_shard is None:
            return  # lost since it was delivered: the message is its new owner's
        try:
            task_request = TaskRequest(
                message, consumer, owned_shard, number, task=task, on_ack=ack, on_reject=reject
            )
        except Exception as error:  # noqa: BLE001 - whatever a forged message does, the queue goes on
            refuse(consumer, message, error)
            return
        intake.take(task_request)

    return on_message
