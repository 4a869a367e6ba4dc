"""How a client's requests get into their shard queues: one connection, one daemon thread, in call order.

A thread of its own keeps the order of calls, bounds every wait (a name that does not resolve blocks the thread,
never a caller), lets an event loop publish, and sends what waits together in one round trip. A message whose fate
a lost connection left uncertain is sent again under the same id, which exactly-once makes safe.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from memrepo.clock import Backoff, Clock, steady_clock
from memrepo.dispatch.connection import BrokerConnection, Command, Message, fail
from memrepo.dispatch.redis_results import met
from memrepo.dispatch.service_thread import ServiceThread
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.limits import MIB
from memrepo.redis.client import understand
from memrepo.redis.errors import OTHER_TYPE, Action, meaning_of
from memrepo.redis.libraries import import_celery
from memrepo.redis.trouble import Server, Trouble, no_answer, not_durable
from memrepo.settings import Settings
from memrepo.wire.payload import LARGE_BYTES
from memrepo.wire.requests.base import Request

BATCH_MAX = 100  # messages that share a round trip
SURE_BATCH_MAX = 2000  # messages that share a wait until the broker is sure of them
BACKOFF = Backoff(first_s=0.05, max_s=0.5)
PREPARE_MAX_S = 0.3  # at a time, so that who asks meanwhile is told what is in the way
BODY_BYTES_PER_S_MIN = 4 * MIB  # how fast large requests must get to the broker

log = logging.getLogger(__name__)


class Publisher:
    """Sends messages in the order of ``send``. Thread-safe; connects at first use."""

    def __init__(
        self, settings: Settings, prepare: Callable[[float], None], clock: Clock = steady_clock
    ) -> None:
        """``prepare`` runs before messages are sent and gets the seconds it may take: replies subscribe there.

        What it raises is the result store's.
        """
        self._settings = settings
        self._prepare = prepare
        self._clock = clock
        self._inbox: SimpleQueue[Message | Command | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread = ServiceThread("memrepo-publisher", self._run)
        self._closed = False
        self._connection = BrokerConnection(settings, clock)
        self._large_bytes = 0
        self._trouble: Trouble | None = None  # what was met since the broker last took messages

    def allowance_s(self, size_bytes: int = 0) -> float:
        """Return how long a request of that size may take to be sent: longer where large ones are ahead of it."""
        large = self._large_bytes + (size_bytes if size_bytes > LARGE_BYTES else 0)
        return self._settings.enqueue_timeout_s + large / BODY_BYTES_PER_S_MIN

    def send(self, item: Message | Command) -> None:
        """Take a message on; its ``sent`` tells what became of it. Never blocks.

        ``sent`` fails with BrokerUnavailableError (not in time; or at once, where no waiting mends what was met),
        MemoryRepoBusyError (queue too deep, or broker full), InvalidRequestError (another number of shards), or plain
        MemoryRepoError (a library is missing).
        """
        if isinstance(item, Message) and item.size_bytes > LARGE_BYTES:
            self._count(item)
        with self._lock:
            if self._closed:
                raise MemoryRepoError("The client is closed: make a new one.")
            self._thread.start()  # may be refused: the interpreter exits
            self._inbox.put(item)

    def _count(self, message: Message) -> None:
        """Count a large request for as long as it is on its way."""
        size_bytes = message.size_bytes
        with self._lock:
            self._large_bytes += size_bytes

        def discount(_: object) -> None:
            with self._lock:
                self._large_bytes -= size_bytes

        message.sent.add_done_callback(discount)

    @property
    def started(self) -> bool:
        """Whether anything was ever sent."""
        return self._thread.started

    def finish(self) -> None:
        """Take nothing more on, and end when what waits is sent. Never blocks."""
        self._closed = True
        self._inbox.put(None)

    def join(self, timeout_s: float) -> None:
        """Return when all is sent and the connection closed, or the time is over; after ``finish``."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Send what is waiting, for as long as that may take, and disconnect."""
        self.finish()
        self.join(self.allowance_s())

    def _run(self) -> None:
        try:
            while self._serve_next():
                pass
        finally:
            self._connection.disconnect()

    def _serve_next(self) -> bool:
        """Do what waits; return False when closed and done. A call of its own, so that nothing of it is kept."""
        items = self._next_items()
        if items is None:
            return False
        try:
            self._serve(items)
        except BaseException as error:  # a fault of ours is these requests' end, and no others'
            fail([item for item in items if isinstance(item, Message)], _fault(error))
            raise
        return True

    def _next_items(self) -> list[Message | Command] | None:
        """Wait for something to do and return all that waits, in order; None when closed and done."""
        first = self._inbox.get()
        if first is None:
            return None
        items = [first]
        most = BATCH_MAX if self._settings.enqueue_durability == "memory" else SURE_BATCH_MAX
        while len(items) < most:
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
        import_celery()
        messages = [item for item in items if isinstance(item, Message)]
        self._send_until_done(
            [message for message in messages if message.sent.set_running_or_notify_cancel()]
        )
        for item in items:
            if not isinstance(item, Message):
                self._command(item)

    def too_late(self, request: Request) -> MemoryRepoError:
        """Return the error for a request that was not taken in time, with what the last try has met."""
        timeout_s, trouble = self._settings.enqueue_timeout_s, self._trouble
        if trouble is None:
            return no_answer(Server("broker", self._settings.broker), request, timeout_s)
        return trouble.too_late(request, timeout_s)

    def _send_until_done(self, waiting: list[Message]) -> None:
        """Try until the broker holds all, each message's time is up, or no waiting helps."""
        failed, tried = 0, False
        while waiting := self._give_up_late(waiting, self.too_late):
            trouble = self._prepare_for(waiting[0])
            fresh = trouble is not None or not self._connection.connected
            if trouble is None:
                try:
                    if not tried:  # later some may be in the queue already
                        waiting = self._connection.refuse_where_deep(waiting)
                    tried = True
                    waiting = self._connection.put_payloads(waiting)
                    self._connection.publish(waiting)
                    waiting = self._confirmed(waiting)
                except InvalidRequestError as error:
                    return fail(waiting, error)
                except Exception as error:  # noqa: BLE001 - whatever the transport raises, the thread must live
                    self._connection.disconnect()
                    trouble = self._met(error)
                else:
                    self._trouble = None
                    return _sent(waiting)
            log.debug("publishing failed: %s", trouble.meaning.reason)
            if not failed or not isinstance(trouble.cause, TimeoutError):  # silence says less
                self._trouble = trouble
            for message in waiting:
                message.on_trouble(trouble.meaning.reason)
            if fresh and trouble.meaning.action is Action.REFUSE:  # not what an old connection had come to
                return self._refuse(waiting, trouble)
            failed += 1
            threading.Event().wait(BACKOFF.pause_s(failed))
        return None

    def _refuse(self, waiting: Sequence[Message], trouble: Trouble) -> None:
        """Give up what no waiting helps; where a key holds something else, only the messages of the queue it is of."""
        queues = dict.fromkeys(message.queue for message in waiting)
        if len(queues) > 1 and trouble.meaning.is_(OTHER_TYPE):
            for queue in queues:
                self._send_until_done([message for message in waiting if message.queue == queue])
            return
        for message in waiting:
            message.settle(trouble.error(message.request))

    def _confirmed(self, waiting: list[Message]) -> list[Message]:
        """Wait until the broker is as sure of the messages as is asked for; give up those that are late meanwhile."""
        while waiting and not self._connection.is_durable():
            waiting = self._give_up_late(waiting, self._not_durable)
        return waiting

    def _not_durable(self, request: Request) -> MemoryRepoError:
        return not_durable(Server("broker", self._settings.broker), request)

    def _prepare_for(self, message: Message) -> Trouble | None:
        """See to it that the reply will be heard; return what stands in the way."""
        try:
            self._prepare(max(0.0, min(PREPARE_MAX_S, message.give_up_at_s - self._clock())))
        except Exception as error:  # noqa: BLE001 - as below
            together = self._settings.results == self._settings.broker  # its owner knows it as the broker
            return self._met(error) if together else met(self._settings, error)
        return None

    def _met(self, error: Exception) -> Trouble:
        url = self._settings.broker
        return Trouble(Server("broker", url), understand(error, url), error)

    def _give_up_late(
        self, waiting: list[Message], late: Callable[[Request], MemoryRepoError]
    ) -> list[Message]:
        """Give up what is too late; return what is left to do, without what was settled before something failed."""
        now = self._clock()
        for message in waiting:
            if message.give_up_at_s <= now:
                message.settle(late(message.request))
        return [message for message in waiting if not message.sent.done()]

    def _command(self, command: Command) -> None:
        try:
            command(*self._connection.open())
        except Exception as error:  # noqa: BLE001 - as above; a broadcast is best effort
            self._connection.disconnect()
            log.debug("command failed: %s", meaning_of(error).reason)


def _sent(messages: Sequence[Message]) -> None:
    for message in messages:
        message.settle()


def _fault(error: BaseException) -> MemoryRepoError:
    fault = MemoryRepoError(
        f"The request was not sent, or nobody knows: a fault of memrepo itself, {type(error).__name__}: {error}. "
        "Please report it; sending a write again with the same request id is safe."
    )
    fault.__cause__ = error
    return fault
