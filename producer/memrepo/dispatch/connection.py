"""A client's connection to the broker: how requests become Celery messages in their shard queues.

Used by one thread, the publisher's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memrepo.clock import Clock, yield_gil
from memrepo.dispatch.delivery import Delivery, may_be_enqueued, on_their_way
from memrepo.dispatch.depths import Depths, Sent, count_in
from memrepo.dispatch.durability import Confirmation
from memrepo.errors import MemoryRepoBusyError, MemoryRepoError
from memrepo.limits import REQUEST_KEPT_S
from memrepo.redis.client import refuse_plain_port
from memrepo.redis.errors import refuse_mode
from memrepo.redis.rights import require_rights
from memrepo.routing import queue_names
from memrepo.settings import Settings
from memrepo.tracing.caller import CallersContext
from memrepo.tracing.spans import SendTrace, current
from memrepo.wire.agreement import check_cells, check_names, check_shards
from memrepo.wire.keys import CELLS_KEY, NAMES_KEY, SHARDS_KEY
from memrepo.wire.operations import request_to_json, request_to_payload
from memrepo.wire.payload import LARGE_BYTES, PayloadClaim
from memrepo.wire.payload_store import PayloadStore, request_payload
from memrepo.wire.requests.base import HEAD_FIELDS, Request
from memrepo.wire.rights import DURABLE_ON_DISK, PRODUCER_ON_BROKER
from memrepo.wire.versions import MESSAGE_VERSION, VERSION_HEADER

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection
    from kombu.messaging import Producer
    from redis import Redis

BATCH_BYTES_MAX = 1 << 20  # content held back for one round trip
COMPUTED_S_MAX = 0.001  # how long this thread computes until another may have the interpreter's lock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """One request on its way into a queue. ``sent`` resolves when the broker holds it."""

    task_id: str
    task_name: str
    request: Request
    queue: str
    reply_to: str
    give_up_at_s: float  # on the steady clock
    claim: PayloadClaim | None = None  # where the body is, if it travels beside
    sent: Future[None] = field(default_factory=Future)
    delivery: Delivery = field(default_factory=Delivery)
    on_trouble: Callable[[str], None] = lambda _: None  # is told why it is not sent yet
    trace: SendTrace | None = None
    caller: CallersContext | None = None  # what integrations of Celery find the caller's span by
    size_bytes: int = -1  # the request's: computed once

    def __post_init__(self) -> None:
        if self.size_bytes < 0:
            object.__setattr__(self, "size_bytes", self.request.size_bytes)

    def again(self, give_up_at_s: float) -> Message:
        """Return the same message, to be sent once more."""
        return replace(self, give_up_at_s=give_up_at_s, claim=None, sent=Future(), delivery=Delivery())

    def settle(self, error: MemoryRepoError | None = None) -> None:
        """Tell whoever waits that the broker holds it, or why it does not; what is told first stays."""
        with suppress(InvalidStateError):
            if error is None:
                self.sent.set_result(None)
            else:
                self.sent.set_exception(self.given_up(error))

    def given_up(self, error: MemoryRepoError) -> MemoryRepoError:
        """Send it no more; return the error, which says so where it may be enqueued all the same."""
        return may_be_enqueued(error) if self.delivery.give_up() else error


Command = Callable[["Celery", "Producer"], None]
"""Something else to be done on the publisher's connection, e.g. a control broadcast."""


class BrokerConnection:
    """The publisher's connection to the broker; used by its thread alone."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._app: Celery | None = None
        self._producer: Producer | None = None
        self._was_open = False  # whether there ever was a connection that served
        self._confirmation: Confirmation | None = None  # if the broker must be sure of what is written
        self._depths = Depths(settings, clock)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._producer is not None

    def open(self) -> tuple[Celery, Producer]:
        """Return the app and a producer that is connected, to a broker with the same number of shards.

        It tries once: how often and for how long is the publisher's.
        """
        if self._app is None:
            self._app = make_app(self._settings)
        if self._producer is None:
            refuse_plain_port(self._settings.broker)
            connection = self._app.connection_for_write()
            try:
                connection.ensure_connection(errback=_try_once, reraise_as_library_errors=False)
                producer = self._app.amqp.Producer(connection.channel(), auto_declare=False)
                _look_at_server(producer.channel.client, self._settings)
                if (durability := self._settings.enqueue_durability) != "memory":
                    self._confirmation = Confirmation(producer.channel.client, durability, self._clock)
                    self._confirmation.require_replica(at_first=not self._was_open)
                if durability == "disk":
                    # Asked after whether the server can at all: one that cannot is told as that.
                    require_rights(producer.channel.client, DURABLE_ON_DISK, self._settings.broker.username)
                _push_all_or_nothing(producer)
            except Exception:
                close_quietly(connection)
                raise
            self._producer, self._was_open = producer, True
        return self._app, self._producer

    def disconnect(self) -> None:
        """Forget the connection."""
        producer, self._producer = self._producer, None
        self._depths.forget()
        if producer is not None:
            close_quietly(producer.connection)

    def publish(self, messages: Sequence[Message]) -> None:
        """Put messages into their queues, in order, in one round trip where they are small.

        Small ones are in one transaction, however long it takes to make them: whoever tries again, or gives up, does so
        with all of them, and what had been pushed already would be there twice.
        """
        app, producer = self.open()
        # Flushed by us alone: what is counted belongs into the transaction in which it is pushed.
        with producer.batch(max_size=len(messages) + 1) as batch, on_their_way() as held:
            held_bytes = 0
            began_s = self._clock()
            sent: list[Sent] = []
            for message in messages:
                if self._clock() - began_s > COMPUTED_S_MAX:
                    yield_gil()
                    began_s = self._clock()
                if not held.add(message.delivery):
                    continue
                send_task(app, producer, message)
                sent.append((message.queue, message.request))
                held_bytes += 0 if message.claim else message.size_bytes
                if held_bytes > BATCH_BYTES_MAX:
                    self._flush(producer, batch.flush, sent)
                    held.flushed()
                    held_bytes = 0
            self._flush(producer, batch.flush, sent, is_last=True)
        if self._confirmation is not None:
            self._confirmation.written()

    def _flush(
        self, producer: Producer, flush: Callable[[], None], sent: list[Sent], *, is_last: bool = False
    ) -> None:
        """Push what is held back, and count it, in one transaction; the last of a batch may tell how many wait by then.

        An earlier one would tell it without those that are still to be pushed, which are admitted already.
        """
        if not sent:
            return
        batch = producer.channel.open_batch
        queues = dict.fromkeys(queue for queue, _ in sent)
        looked_at = self._depths.due_to_renew(queues) if is_last else []
        count_in(batch.pipeline, sent, looked_at)
        flush()
        self._depths.note(looked_at, batch.answers[-1])
        sent.clear()

    def is_durable(self) -> bool:
        """Return whether the broker is as sure of what was just published as is asked for; it may take a moment.

        Raises:
            redis.RedisError: that is not known: it has to be published again.
        """
        return self._confirmation is None or self._confirmation.is_durable()

    def put_payloads(self, messages: list[Message]) -> list[Message]:
        """Store what is too large for a message; fail those for which there is no room and return the others."""
        if self._confirmation is not None:
            self._confirmation.begin()
        passed = []
        for message in messages:
            try:
                passed.append(self._with_payload(message))
            except MemoryRepoBusyError as error:
                fail([message], error)
        return passed

    def _with_payload(self, message: Message) -> Message:
        if message.size_bytes <= LARGE_BYTES:
            return message
        _, producer = self.open()
        chunks = PayloadStore(producer.channel.client, self._settings.bodies_bytes_max)
        payload = request_to_payload(message.request)
        return replace(message, claim=chunks.put(request_payload(message.task_id), payload, REQUEST_KEPT_S))

    def refuse_where_deep(self, messages: list[Message]) -> list[Message]:
        """Fail the messages whose agent, or whose queue, has too many waiting, and return the others."""
        reasons = self._depths.sort([(one.queue, one.request) for one in messages], self._client)
        for message, busy in zip(messages, reasons, strict=True):
            if busy is not None:
                fail([message], busy)
        return [message for message, busy in zip(messages, reasons, strict=True) if busy is None]

    def _client(self) -> Redis:
        _, producer = self.open()
        client: Redis = producer.channel.client
        return client


def _try_once(error: Exception, _pause_s: float) -> None:
    """End kombu's tries at the first, which would be followed by a pause of two seconds."""
    raise error


def _look_at_server(client: Redis, settings: Settings) -> None:
    """Check that a server is one that serves us, and that its workers have our cells, shards and rule for names."""
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("HELLO")
    pipeline.get(SHARDS_KEY)
    pipeline.get(NAMES_KEY)
    pipeline.get(CELLS_KEY)
    hello, *recorded = pipeline.execute(raise_on_error=False)
    refuse_mode(hello)
    require_rights(client, PRODUCER_ON_BROKER, settings.broker.username)
    for found in recorded:
        if isinstance(found, Exception):
            raise found
    shards, names, cells = recorded
    check_cells(cells, settings.cell, settings.each_cell)
    check_shards(shards, settings.shards)
    check_names(names, settings.limits.portable_names)


def _push_all_or_nothing(producer: Producer) -> None:
    """Have a batch's messages pushed in one transaction, on the connection on which all else is asked.

    A server that is nearly full would refuse a large message and take a small one after it: out of order. And it says
    of the writes of one connection alone how sure it is of them; kombu has one for batches and one for the rest. What
    the transaction answered is kept: kombu does not.
    """
    channel = producer.channel
    make = channel.create_publish_batch
    channel.conn_or_acquire = lambda client=None: nullcontext(client or channel.client)

    def create(max_size: int) -> object:
        batch = make(max_size)
        execute = batch.pipeline.execute

        def keep_answers() -> None:
            batch.answers = execute()

        batch.pipeline.transaction, batch.pipeline.execute = True, keep_answers
        channel.open_batch = batch
        return batch

    channel.create_publish_batch = create


def close_quietly(connection: Connection) -> None:
    """Close a connection of which nothing more is expected."""
    try:
        connection.collect()
    except Exception as error:  # noqa: BLE001 - it is lost anyway
        log.debug("closing failed: %s", type(error).__name__)


def make_app(settings: Settings) -> Celery:
    """Build the Celery app of a producer: JSON only, no result backend (replies are ours), no retry of its own."""
    from kombu.entity import Queue  # noqa: PLC0415 - `import memrepo` stays light

    from memrepo.redis.celery_app import OwnCelery  # noqa: PLC0415 - likewise

    app = OwnCelery(settings.broker, settings.results, backend="disabled://")
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(name) for name in queue_names(settings.shards)],
        task_create_missing_queues=False,
        task_send_sent_event=False,
        task_publish_retry=False,
        broker_connection_timeout=settings.connect_timeout_s,
    )
    app.connect_as_client(
        priority_steps=[0],
        socket_connect_timeout=settings.connect_timeout_s,
        socket_timeout=settings.enqueue_timeout_s,  # a large body takes its time to be written
        socket_keepalive=True,
        health_check_interval=10,
        max_retries=0,
    )
    return app


def send_task(app: Celery, producer: Producer, message: Message) -> None:
    """Publish one request as an ordinary Celery task."""
    send = partial(_send_task, app, producer, message)
    if message.caller is None:
        send()
    else:
        message.caller.run(send)


def _send_task(app: Celery, producer: Producer, message: Message) -> None:
    trace = message.trace
    with current(trace):
        app.send_task(
            message.task_name,
            args=[],
            kwargs=_kwargs(message),
            task_id=message.task_id,
            queue=message.queue,
            reply_to=message.reply_to,
            producer=producer,
            ignore_result=False,
            add_to_parent=False,
            declare=[],  # the queue is a list that the first push makes: nothing to declare
            argsrepr="()",
            kwargsrepr=message.request.public_summary,
            headers={VERSION_HEADER: MESSAGE_VERSION, **(trace.headers if trace is not None else {})},
        )


def _kwargs(message: Message) -> dict[str, Any]:
    """Write what the task is called with: the request, or its head and where to find the rest."""
    if message.claim is None:
        return {"request": request_to_json(message.request)}
    head = message.request.model_dump(mode="json", include=set(HEAD_FIELDS))
    return {"request": head, "body": message.claim.model_dump()}


def fail(messages: Sequence[Message], error: MemoryRepoError) -> None:
    """Tell whoever waits that these were not sent."""
    for message in messages:
        message.settle(error)
