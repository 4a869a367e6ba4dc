"""How a client's requests get into their shard queues: one connection, one daemon thread, in call order.

A thread of its own keeps the order of calls, bounds every wait (a name that does not resolve blocks the thread,
never a caller), lets an event loop publish, and sends what waits together in one round trip. A message whose fate
a lost connection left uncertain is sent again under the same id, which exactly-once makes safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from memrepo.clock import Clock, give_way, steady_clock
from memrepo.errors import BrokerUnavailableError, InvalidRequestError, MemoryRepoBusyError, MemoryRepoError
from memrepo.requests import Request
from memrepo.routing import queue_names, unacked_key
from memrepo.settings import Settings, masked

if TYPE_CHECKING:
    from celery import Celery
    from kombu.connection import Connection
    from kombu.messaging import Producer

SHARDS_KEY = "memrepo:shards"
BATCH_MAX = 100  # messages that share a round trip
BATCH_BYTES_MAX = 1 << 20  # content held back for one round trip
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 0.5
DEPTH_TRUSTED_S = 0.1  # how long a look at a queue's depth holds

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
    sent: Future[None] = field(default_factory=Future)

    def again(self, give_up_at_s: float) -> Message:
        """Return the same message, to be sent once more."""
        return replace(self, give_up_at_s=give_up_at_s, sent=Future())


Command = Callable[["Celery", "Producer"], None]
"""Something else to be done on the publisher's connection, e.g. a control broadcast."""


class Publisher:
    """Sends messages in the order of ``send``. Thread-safe; connects at first use."""

    def __init__(
        self, settings: Settings, prepare: Callable[[float], None], clock: Clock = steady_clock
    ) -> None:
        """``prepare`` runs before the first message and gets the seconds it may take (replies subscribe there)."""
        self._settings = settings
        self._prepare = prepare
        self._clock = clock
        self._inbox: SimpleQueue[Message | Command | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._link = _Link(settings, clock)

    def send(self, item: Message | Command) -> None:
        """Take a message on; its ``sent`` tells what became of it. Never blocks.

        ``sent`` fails with BrokerUnavailableError (down, or not in time), MemoryRepoBusyError (queue too deep) or
        InvalidRequestError (another number of shards).
        """
        with self._lock:
            if self._closed:
                raise MemoryRepoError("The client is closed: make a new one.")
            self._inbox.put(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memrepo-publisher", daemon=True)
                self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Send what is waiting, for at most ``timeout_s``, and disconnect."""
        with self._lock:
            self._closed = True
            self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while (items := self._next_items()) is not None:
                self._serve(items)
        finally:
            self._link.drop()

    def _next_items(self) -> list[Message | Command] | None:
        """Wait for something to do and return all that waits, in order; None when closed and done."""
        first = self._inbox.get()
        if first is None:
            return None
        items = [first]
        while len(items) < BATCH_MAX:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                break
            if item is None:
                self._inbox.put(None)
                break
            items.append(item)
        return items

    def _serve(self, items: Sequence[Message | Command]) -> None:
        messages = [item for item in items if isinstance(item, Message)]
        self._send_until_done(
            [message for message in messages if message.sent.set_running_or_notify_cancel()]
        )
        for item in items:
            if not isinstance(item, Message):
                self._command(item)

    def _send_until_done(self, waiting: list[Message]) -> None:
        """Try until the broker holds all, or each message's time is up."""
        pause_s = PAUSE_FIRST_S
        where, tried = self._settings.broker_url, False
        while waiting := self._give_up_late(waiting, where):
            try:
                self._prepare(max(0.0, waiting[0].give_up_at_s - self._clock()))
                if not tried:  # later some may be in the queue already
                    waiting = self._link.refuse_where_deep(waiting)
                tried = True
                self._link.publish(waiting)
            except InvalidRequestError as error:
                return _fail(waiting, error)
            except Exception as error:  # noqa: BLE001 - whatever the transport raises, the thread must live
                self._link.drop()
                if isinstance(error, BrokerUnavailableError):  # it was the store of results
                    where = self._settings.result_url
                log.debug("publishing failed: %s", type(error).__name__)
                threading.Event().wait(pause_s)
                pause_s = min(2 * pause_s, PAUSE_MAX_S)
            else:
                for message in waiting:
                    message.sent.set_result(None)
                return None
        return None

    def _give_up_late(self, waiting: list[Message], where: str) -> list[Message]:
        now = self._clock()
        for message in waiting:
            if message.give_up_at_s <= now:
                message.sent.set_exception(
                    unavailable(where, self._settings.enqueue_timeout_s, message.request.request_id)
                )
        return [message for message in waiting if message.give_up_at_s > now]

    def _command(self, command: Command) -> None:
        try:
            command(*self._link.open())
        except Exception as error:  # noqa: BLE001 - as above; a broadcast is best effort
            self._link.drop()
            log.debug("command failed: %s", type(error).__name__)


class _Link:
    """The publisher's connection to the broker; used by its thread alone."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._app: Celery | None = None
        self._producer: Producer | None = None
        self._depths: dict[str, tuple[float, int]] = {}

    def open(self) -> tuple[Celery, Producer]:
        """Return the app and a producer that is connected, to a broker with the same number of shards."""
        if self._app is None:
            self._app = make_app(self._settings)
        if self._producer is None:
            connection = self._app.connection_for_write()
            try:
                producer = self._app.amqp.Producer(connection.channel(), auto_declare=False)
                check_shards(producer.channel.client.get(SHARDS_KEY), self._settings)
            except Exception:
                _collect(connection)
                raise
            self._producer = producer
        return self._app, self._producer

    def drop(self) -> None:
        """Forget the connection."""
        producer, self._producer = self._producer, None
        self._depths.clear()
        if producer is not None:
            _collect(producer.connection)

    def publish(self, messages: Sequence[Message]) -> None:
        """Put messages into their queues, in order, in one round trip where they are small."""
        app, producer = self.open()
        with producer.batch() as batch:  # type: ignore[no-untyped-call]  # kombu ships few types
            held_bytes = 0
            for message in messages:
                if message is not messages[0]:
                    give_way()
                send_task(app, producer, message)
                held_bytes += message.request.content_bytes
                if held_bytes > BATCH_BYTES_MAX:
                    batch.flush()
                    held_bytes = 0

    def refuse_where_deep(self, messages: list[Message]) -> list[Message]:
        """Fail the messages whose queue is too deep and return the others."""
        limit = self._settings.max_queue_depth
        if not limit:
            return messages
        self._look_at_depths({message.queue for message in messages})
        passed = []
        for message in messages:
            looked_at, depth = self._depths[message.queue]
            if depth >= limit:
                _fail([message], busy(depth, limit))
            else:
                self._depths[message.queue] = (looked_at, depth + 1)
                passed.append(message)
        return passed

    def _look_at_depths(self, queues: set[str]) -> None:
        """Ask for the depths that are not known well enough; what we add ourselves is counted."""
        now = self._clock()
        never = (float("-inf"), 0)
        due = [queue for queue in queues if now - self._depths.get(queue, never)[0] >= DEPTH_TRUSTED_S]
        if not due:
            return
        _, producer = self.open()
        pipeline = producer.channel.client.pipeline(transaction=False)
        for queue in due:
            pipeline.llen(queue)
            pipeline.hlen(unacked_key(queue))
        counts = pipeline.execute()
        depths = (waiting + taken for waiting, taken in zip(counts[::2], counts[1::2], strict=True))
        self._depths |= {queue: (now, depth) for queue, depth in zip(due, depths, strict=True)}


def _collect(connection: Connection) -> None:
    """Close a connection of which nothing more is expected."""
    try:
        connection.collect()  # type: ignore[no-untyped-call]  # kombu ships few types
    except Exception as error:  # noqa: BLE001 - it is lost anyway
        log.debug("closing failed: %s", type(error).__name__)


def make_app(settings: Settings) -> Celery:
    """Build the Celery app of a producer: JSON only, no result backend (replies are ours), no retry of its own."""
    from celery import Celery  # noqa: PLC0415 - `import memrepo` stays light
    from kombu.entity import Queue  # noqa: PLC0415

    app = Celery("memrepo", broker=settings.broker_url, backend="disabled://", set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_queues=[Queue(name) for name in queue_names(settings.shards)],  # type: ignore[no-untyped-call]  # as above
        task_create_missing_queues=False,
        task_send_sent_event=False,
        task_publish_retry=False,
        broker_connection_timeout=settings.connect_timeout_s,
        broker_transport_options={
            "priority_steps": [0],
            "socket_connect_timeout": settings.connect_timeout_s,
            "socket_timeout": settings.enqueue_timeout_s,  # a large body takes its time to be written
            "socket_keepalive": True,
            "health_check_interval": 10,
            "max_retries": 0,
        },
    )
    return app


def send_task(app: Celery, producer: Producer, message: Message) -> None:
    """Publish one request as an ordinary Celery task."""
    app.send_task(
        message.task_name,
        args=[],
        kwargs={"request": message.request.model_dump(mode="json")},
        task_id=message.task_id,
        queue=message.queue,
        reply_to=message.reply_to,
        producer=producer,
        ignore_result=False,
        add_to_parent=False,
        declare=[],  # the queue is a list that the first push makes: nothing to declare
        argsrepr="()",
        kwargsrepr=message.request.shape,
    )


def check_shards(recorded: bytes | None, settings: Settings) -> None:
    """Compare the number of shards with the one that the first worker recorded, if any has.

    Raises:
        InvalidRequestError: they differ, so that an agent would have two queues.
    """
    if recorded is not None and int(recorded) != settings.shards:
        raise InvalidRequestError.of(
            "MEMREPO_SHARDS", f"is {settings.shards} here, but the workers of this broker use {int(recorded)}"
        )


def unavailable(url: str, timeout_s: float, request_id: str) -> BrokerUnavailableError:
    """Return the error for a server that did not take a request in time."""
    return BrokerUnavailableError(
        f"{masked(url)} did not take the request within {timeout_s:g} s. Sending it again with the same request id, "
        f"{request_id}, is safe.",
        {"request_id": request_id},
    )


def busy(depth: int, limit: int) -> MemoryRepoBusyError:
    """Return the error for a queue that is too deep."""
    return MemoryRepoBusyError(
        f"{depth} requests wait in the agent's queue, over max_queue_depth ({limit}). Wait, then send again.",
        {"queue_depth": depth, "max_queue_depth": limit},
    )


def _fail(messages: Sequence[Message], error: MemoryRepoError) -> None:
    for message in messages:
        message.sent.set_exception(error)
