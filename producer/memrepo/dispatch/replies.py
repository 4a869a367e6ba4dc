"""How a client hears of its jobs: one pub/sub channel, one daemon thread, and a look at the store now and then.

A reply may get lost (pub/sub keeps nothing), so every job waited for is also looked up at its key: at once after
a reconnect, and in turns, some at every ``poll_interval_s`` (see ``memrepo.dispatch.watched``). What a reply costs does
not depend on how many jobs are waited for.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from memrepo.clock import Clock, steady_clock, system_clock
from memrepo.dispatch.listening import Listeners
from memrepo.dispatch.redis_results import connect, met, translate_redis_errors
from memrepo.dispatch.service_thread import SerialExecutor, ServiceThread
from memrepo.dispatch.watched import LOOKUP_MAX, TICK_S, Watched
from memrepo.errors import ResultExpiredError
from memrepo.jobs.pending import Pending, closed, expired, gone, unreadable
from memrepo.limits import FETCHED_KEPT_S
from memrepo.redis.errors import Action, meaning_of
from memrepo.redis.libraries import import_redis
from memrepo.redis.reconnecting import ask_primary
from memrepo.redis.rights import require_rights
from memrepo.settings import Settings
from memrepo.wire import record
from memrepo.wire.cancellation import cancel
from memrepo.wire.keys import REPLIES_PREFIX, record_key
from memrepo.wire.payload import ResultClaim
from memrepo.wire.payload_store import PayloadStore, result_payload
from memrepo.wire.record import Record
from memrepo.wire.rights import PRODUCER_ON_RESULTS

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

RECONNECT_PAUSE_S = 0.2

Fetch = Callable[[Pending[Any], ResultClaim, str | None], None]

log = logging.getLogger(__name__)


class Replies:
    """Resolves the jobs of one client. Thread-safe; starts its thread at the first ``start``."""

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        on_poll: Callable[[], None] = lambda: None,
        clock: Clock = steady_clock,
        on_forgotten: Callable[[Pending[Any]], None] = lambda _: None,
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_poll`` is called after each look at the store, every ``poll_interval_s``; it must not wait.

        ``on_forgotten`` is called for each job that has ended, or was given up; ``on_connected`` when a connection was
        made anew.
        """
        self.channel = REPLIES_PREFIX + client_id
        self._settings = settings
        self._on_poll = on_poll
        self._on_connected = on_connected
        self._clock = clock
        self._watched = Watched(settings.poll_interval_s, clock, on_forgotten)
        self.changes = Listeners()
        self._to_cancel: deque[str] = deque()
        self._client_lock = threading.Lock()  # apart: making the client imports redis, which takes long
        self._accepted = False  # whether a connection was made since the last one was lost
        self._subscribed = threading.Event()
        self._tried = threading.Event()  # to subscribe, well or not, since somebody looked
        self._trouble: Exception | None = None  # what the last try met
        self._closing = threading.Event()
        self._thread = ServiceThread("memrepo-replies", self._run)
        self._client: Redis | None = None
        self._fetcher = SerialExecutor("memrepo-results")

    def start(self) -> None:
        """Begin to listen, unless that was done."""
        if not self._closing.is_set():
            self._thread.start()  # may be refused: the interpreter exits

    def wait_subscribed(self, timeout_s: float) -> None:
        """Return when replies will be heard.

        Raises:
            Exception: what the last try to subscribe met, if that took longer than ``timeout_s``; at once if no waiting
                mends it.
        """
        self.start()
        deadline = self._clock() + timeout_s
        while not self._subscribed.is_set():
            error, left_s = self._trouble, deadline - self._clock()
            if error is not None and (
                left_s <= 0 or met(self._settings, error).meaning.action is Action.REFUSE
            ):
                raise error
            if left_s <= 0:
                raise _silence(accepted=self._accepted)
            self._tried.wait(left_s)
            self._tried.clear()

    def watch(self, pending: Pending[Any]) -> None:
        """Resolve this job from now on, until it is final."""
        self._watched.add(pending)

    def watches(self, pending: Pending[Any]) -> bool:
        """Return whether the job, which somebody asks for, is resolved once its result is there."""
        return self._thread.started and self._watched.holds(pending)

    def forget(self, pending: Pending[Any]) -> None:
        """Resolve this job no longer."""
        self._watched.remove(pending)

    @property
    def started(self) -> bool:
        """Whether anybody listens."""
        return self._thread.started

    def unended(self) -> list[Pending[Any]]:
        """Return the jobs that this client sent and that have not ended."""
        return self._watched.unended()

    def look_soon(self, pending: Pending[Any]) -> None:
        """Have a watched job looked up by the thread that listens, within a tick. Never blocks."""
        self._watched.ask(pending)

    def some_wait_long(self) -> bool:
        """Return whether a job of ours has not ended after more than a poll interval, as of the last look."""
        return self._watched.some_wait_long

    def look(self, pending: Pending[Any]) -> None:
        """Look a job up now, in the caller's thread.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        with translate_redis_errors(self._settings):
            self._look_up([pending], self._fetch)

    def cancel(self, task_id: str) -> None:
        """Cancel a task unless it was started; who watches its job is told.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        with translate_redis_errors(self._settings):
            cancel(self._redis(), task_id, system_clock(), self.channel)

    def cancel_soon(self, task_id: str) -> None:
        """Cancel a task likewise from the thread that listens, once the result store answers. Never blocks."""
        self._to_cancel.append(task_id)
        self.start()

    def close(self) -> None:
        """Stop listening. Whoever still waits for a job is told; the job itself goes on."""
        self._closing.set()
        self._hang_up()
        ends_s = steady_clock() + self._settings.connect_timeout_s + TICK_S
        while not self._thread.join(TICK_S) and steady_clock() < ends_s:
            self._hang_up()  # again: the connection may have been made since
        self._fetcher.close()
        if self._client is not None:
            self._client.close()
        for pending in self._watched.clear():
            pending.fail(closed(pending.task_id), pending.status)
        for task_id in self._to_cancel:
            log.warning("job %s was not cancelled: the result store did not answer until the end", task_id)

    def _hang_up(self) -> None:
        """End a wait for a server's first answer: nobody needs it any more, unless to cancel jobs."""
        if self._client is not None and not self._subscribed.is_set() and not self._to_cancel:
            with suppress(Exception):  # whatever the thread does with the connection just now
                self._client.connection_pool.disconnect()

    def _redis(self) -> Redis:
        with self._client_lock:
            import_redis()
            if self._client is None:
                self._client = connect(self._settings, self._note_accepted)
            return self._client

    def _note_accepted(self) -> None:
        self._accepted = True

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - whatever redis-py raises, the thread must live
                log.debug("replies interrupted: %s", meaning_of(error).reason)
                self._trouble = (
                    None if self._subscribed.is_set() else error
                )  # an old connection's end says little
            finally:
                self._accepted = False
                self._subscribed.clear()
                self._tried.set()
            self._closing.wait(RECONNECT_PAUSE_S)

    def _listen(self) -> None:
        client = self._redis()
        require_rights(client, PRODUCER_ON_RESULTS, self._settings.results.username)
        with client.pubsub() as pubsub:
            pubsub.subscribe(self.channel)
            self.changes.connected()
            while not self._closing.is_set():
                self.changes.follow(pubsub)
                self._hear(pubsub)
                self._cancel_waiting()
                self._poll()
            self._cancel_waiting()

    def _cancel_waiting(self) -> None:
        try:
            while self._to_cancel:
                self.cancel(self._to_cancel[0])
                self._to_cancel.popleft()
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises: the next tick tries again
            log.debug("a cancel waits: %s", error)

    def _hear(self, pubsub: PubSub) -> None:
        message = pubsub.get_message(timeout=self._watched.wait_s)
        if message is None or _is_another(message, self.channel, self.changes):
            return
        if message["type"] == "subscribe":
            self._trouble = None
            self._subscribed.set()
            self._tried.set()
            self._watched.hurry()  # what was said meanwhile is at the keys
            self._on_connected()
        elif message["type"] == "message":
            heard = record.read(message["data"])
            if heard is not None:
                self._settle(heard)

    def _settle(self, record: Record) -> None:
        pending = self._watched.get(record.task_id)
        if pending is not None:
            self._apply(pending, record, self._fetch_later)

    def _apply(self, pending: Pending[Any], record: Record, fetch: Fetch) -> None:
        """Take note of a record: what is wrong with it is the end of its own job, and of no other.

        A result that is a body of its own has to be fetched first; that may fail as the connection does.
        """
        try:
            claim = record.claim
            if claim is None:
                pending.settle(record)
        except Exception as error:  # noqa: BLE001 - whatever a forged record makes our code raise
            log.warning("the record of job %s is none: %s", pending.task_id, type(error).__name__)
            pending.fail(unreadable(pending.task_id))
            claim = None
        if claim is not None:
            fetch(pending, claim, record.task_name)
        elif pending.future.done():
            self.forget(pending)

    def _fetch_later(self, pending: Pending[Any], claim: ResultClaim, task_name: str | None) -> None:
        """Fetch a large result in a thread of its own, so that other replies are heard meanwhile.

        Once at a time: the job is looked up again and again until it has ended.
        """
        self._fetcher.submit(pending.task_id, partial(self._fetch_quietly, pending, claim, task_name))

    def _fetch_quietly(self, pending: Pending[Any], claim: ResultClaim, task_name: str | None) -> None:
        try:
            self._fetch(pending, claim, task_name)
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises: the next poll tries again
            log.debug("fetching a result failed: %s", meaning_of(error).reason)

    def _fetch(self, pending: Pending[Any], claim: ResultClaim, task_name: str | None) -> None:
        chunks = PayloadStore(self._redis(), self._settings.bodies_bytes_max)
        name = result_payload(pending.task_id)

        def missing() -> ResultExpiredError:
            return gone(pending.task_id, claim.kept_at, str(self._settings.results))

        if not pending.future.done() and pending.fetch(lambda: chunks.get(name, claim), missing, task_name):
            self.forget(pending)
            chunks.keep([name], FETCHED_KEPT_S)

    def _poll(self) -> None:
        """Look up the jobs whose time has come."""
        poll = self._watched.is_poll_due()
        jobs = self._watched.due(poll=poll)
        if poll and jobs:
            ask_primary(self._redis())  # else what it says of our jobs may be what was
        due = iter(jobs)
        while some := list(islice(due, LOOKUP_MAX)):
            self._look_up(some, self._fetch_later)
        if poll:
            self._on_poll()

    def _look_up(self, jobs: Sequence[Pending[Any]], fetch: Fetch) -> None:
        ids = [pending.task_id for pending in jobs]
        for pending, data in zip(jobs, self._redis().mget([record_key(one) for one in ids]), strict=True):
            found = record.read(data) if data else None
            if found is None:
                self._settle_absent(pending)
            else:
                self._apply(pending, found, fetch)

    def _settle_absent(self, pending: Pending[Any]) -> None:
        pending.has_no_record()
        if pending.foreign and self._clock() - pending.known_since_s > self._settings.result_expires_s:
            self.forget(pending)
            pending.fail(expired(pending.task_id), "unknown")


def _is_another(message: Mapping[str, Any], channel: str, changes: Listeners) -> bool:
    """Return whether a message is of another channel than that; whom it concerns is told."""
    of = message["channel"].decode(errors="replace")
    if of == channel:
        return False
    if message["type"] in ("subscribe", "message"):
        changes.wake(of)
    return True


def _silence(*, accepted: bool) -> TimeoutError:
    """Return the error for a subscription that takes too long, as the operating system would have it."""
    if accepted:
        return TimeoutError("no answer yet")
    return TimeoutError(errno.ETIMEDOUT, "no connection yet")
