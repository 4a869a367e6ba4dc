"""How a client hears of its jobs: one pub/sub channel, one daemon thread, and a look at the store now and then.

A reply may get lost (pub/sub keeps nothing), so every job waited for is also looked up at its key: at once after
a reconnect, and every ``poll_interval_s``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memrepo import meta
from memrepo.clock import Clock, steady_clock
from memrepo.errors import BrokerUnavailableError, MemoryRepoError, ResultExpiredError
from memrepo.meta import Meta, Status
from memrepo.settings import Settings, masked

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

T = TypeVar("T")

CHANNEL_PREFIX = "memrepo.replies."
TICK_S = 0.1  # how soon a job that another process sent is looked at
RECONNECT_PAUSE_S = 0.2
LOOKUP_MAX = 50  # keys asked for at once: each may hold a large result

log = logging.getLogger(__name__)


class Pending(Generic[T]):
    """What this process knows of one job: its last state and a future of its result.

    ``foreign`` says that another client sent it, so that no reply comes to us.
    """

    def __init__(self, task_id: str, decode: Callable[[Any], T], *, foreign: bool = False) -> None:
        self.task_id = task_id
        self.foreign = foreign
        self.status: Status = "unknown" if foreign else "queued"
        self.since_s = steady_clock()
        self.future: Future[T] = Future()
        self._decode = decode
        self._follows = False

    def has_no_record(self) -> None:
        """Take note that there is no record: a worker has not begun, or the store has lost what it had."""
        if not self.foreign and not self.future.done():
            self.status = "queued"

    def settle(self, record: Meta) -> None:
        """Take note of a record; the first final one wins."""
        if self.future.done():
            return
        if not record.final:
            self.status = record.status
        elif record.status == "done":
            self._finish(record)
        else:
            self.fail(record.error, record.status)

    def _finish(self, record: Meta) -> None:
        try:
            value = self._decode(record.result)
        except ValueError:
            self.fail(
                MemoryRepoError("The result cannot be read: the worker runs another version of memrepo.")
            )
            return
        self.status = "done"
        with suppress(InvalidStateError):  # another thread was first
            self.future.set_result(value)

    def follow(self, other: Pending[T]) -> None:
        """End as another one of the same job does."""
        if self._follows:
            return
        self._follows = True

        def copy(ended: Future[T]) -> None:
            error = ended.exception()
            self.status = other.status
            with suppress(InvalidStateError):  # it was looked up meanwhile
                if error is None:
                    self.future.set_result(ended.result())
                else:
                    self.future.set_exception(error)

        other.future.add_done_callback(copy)

    def fail(self, error: MemoryRepoError, status: Status = "failed") -> None:
        """End it with an error, unless it has ended."""
        if self.future.done():
            return
        self.status = status
        with suppress(InvalidStateError):  # another thread was first
            self.future.set_exception(error)


class Replies:
    """Resolves the jobs of one client. Thread-safe; starts its thread at the first ``start``."""

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        on_poll: Callable[[], None] = lambda: None,
        clock: Clock = steady_clock,
    ) -> None:
        """``on_poll`` is called after each look at the store, every ``poll_interval_s``; it must not wait."""
        self.channel = CHANNEL_PREFIX + client_id
        self._settings = settings
        self._on_poll = on_poll
        self._clock = clock
        self._pending: dict[str, Pending[Any]] = {}
        self._lock = threading.Lock()
        self._client_lock = threading.Lock()  # apart: making the client imports redis, which takes long
        self._subscribed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._client: Redis | None = None
        self._polled_at = clock()

    def start(self) -> None:
        """Begin to listen, unless that was done."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="memrepo-replies", daemon=True)
                self._thread.start()

    def wait_subscribed(self, timeout_s: float) -> None:
        """Return when replies will be heard.

        Raises:
            BrokerUnavailableError: that took longer than ``timeout_s``.
        """
        self.start()
        if not self._subscribed.wait(timeout_s):
            raise BrokerUnavailableError(
                f"No answer from the result store {masked(self._settings.result_url)}."
            )

    def watch(self, pending: Pending[Any]) -> None:
        """Resolve this job from now on, until it is final."""
        with self._lock:
            first = self._pending.setdefault(pending.task_id, pending)
        if first is not pending:
            pending.follow(first)

    def forget(self, pending: Pending[Any]) -> None:
        """Resolve this job no longer."""
        with self._lock:
            if self._pending.get(pending.task_id) is pending:
                del self._pending[pending.task_id]

    def look(self, pending: Pending[Any]) -> None:
        """Look a job up now, in the caller's thread.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        with store_errors(self._settings.result_url):
            self._look_up([pending])

    def cancel(self, task_id: str, record: str) -> None:
        """Store and publish the record of a cancelled task, unless it has a record already.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        with store_errors(self._settings.result_url):
            key = meta.key_of(task_id)
            if self._redis().set(key, record, nx=True, ex=self._settings.result_expires_s):
                self._redis().publish(key, record)
                self._redis().publish(self.channel, record)

    def close(self) -> None:
        """Stop listening. Whoever still waits for a job is told; the job itself goes on."""
        self._closing.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=self._settings.connect_timeout_s + TICK_S)
        if self._client is not None:
            self._client.close()
        with self._lock:
            unended, self._pending = self._pending, {}
        for pending in unended.values():
            pending.fail(closed(pending.task_id), pending.status)

    def _redis(self) -> Redis:
        with self._client_lock:
            if self._client is None:
                self._client = connect(self._settings)
            return self._client

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever redis-py raises, the thread must live
                log.debug("replies interrupted: %s", type(error).__name__)
            finally:
                self._subscribed.clear()
            self._closing.wait(RECONNECT_PAUSE_S)

    def _listen(self) -> None:
        with self._redis().pubsub() as pubsub:  # type: ignore[no-untyped-call]  # redis-py left it untyped
            pubsub.subscribe(self.channel)
            while not self._closing.is_set():
                self._hear(pubsub)
                self._poll()

    def _hear(self, pubsub: PubSub) -> None:
        message = pubsub.get_message(timeout=TICK_S)
        if message is None:
            return
        if message["type"] == "subscribe":
            self._subscribed.set()
            self._polled_at = float("-inf")  # what was said meanwhile is at the keys
        elif message["type"] == "message":
            record = meta.read(message["data"])
            if record is not None:
                self._settle(record)

    def _settle(self, record: Meta) -> None:
        with self._lock:
            pending = self._pending.get(record.task_id)
            if pending is not None and record.final:
                del self._pending[record.task_id]
        if pending is not None:
            pending.settle(record)

    def _poll(self) -> None:
        """Look up the jobs of other clients at every tick, our own at every poll interval."""
        now = self._clock()
        all_due = now - self._polled_at >= self._settings.poll_interval_s
        if all_due:
            self._polled_at = now
        with self._lock:
            if all_due:  # also what ended otherwise than by a record
                self._pending = {key: one for key, one in self._pending.items() if not one.future.done()}
            due = [pending for pending in self._pending.values() if all_due or pending.foreign]
        remaining = iter(due)
        while some := list(islice(remaining, LOOKUP_MAX)):
            self._look_up(some)
        if all_due:
            self._on_poll()

    def _look_up(self, jobs: Sequence[Pending[Any]]) -> None:
        ids = [pending.task_id for pending in jobs]
        for pending, data in zip(jobs, self._redis().mget([meta.key_of(one) for one in ids]), strict=True):
            record = meta.read(data) if data else None
            if record is None:
                self._settle_absent(pending)
                continue
            pending.settle(record)
            if record.final:
                self.forget(pending)

    def _settle_absent(self, pending: Pending[Any]) -> None:
        pending.has_no_record()
        if pending.foreign and self._clock() - pending.since_s > self._settings.result_expires_s:
            self.forget(pending)
            pending.fail(expired(pending.task_id), "unknown")


def expired(job_id: str, request_id: str | None = None) -> ResultExpiredError:
    """Return the error for a job of which there is no record, and none will come.

    ``request_id`` is None for a job that another client sent: then it is the job's, unless its caller chose one.
    """
    call = f'repo.find_request("{request_id or job_id}")'
    or_else = "" if request_id else " (or the request id that you chose)"
    return ResultExpiredError(
        f"There is no record of job {job_id}: its result has expired, or it was never sent. "
        f"{call}{or_else} tells what became of it.",
        {"job_id": job_id, "request_id": request_id},
    )


def closed(job_id: str) -> MemoryRepoError:
    """Return the error for waiting on a client that was closed."""
    return MemoryRepoError(
        f"The client was closed while job {job_id} was under way; it goes on. Find it by its id with another client.",
        {"job_id": job_id},
    )


@contextmanager
def store_errors(url: str) -> Iterator[None]:
    """Turn the result store's faults into ``BrokerUnavailableError``."""
    from redis import RedisError  # noqa: PLC0415 - `import memrepo` stays light

    try:
        yield
    except (RedisError, OSError) as error:
        reason = f"No answer from the result store {masked(url)}: {type(error).__name__}."
        raise BrokerUnavailableError(reason) from error


def connect(settings: Settings) -> Redis:
    """Return a client of the result store that retries nothing by itself and waits for nothing without end."""
    from redis import Redis  # noqa: PLC0415 - `import memrepo` stays light
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    return Redis.from_url(
        settings.result_url.replace("redis+socket://", "unix://", 1),  # Celery's and redis-py's word for it
        socket_connect_timeout=settings.connect_timeout_s,
        socket_timeout=settings.enqueue_timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
    )
