"""What a client knows of one job on its way: its last state, and its result to be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

from memrepo.clock import steady_clock, system_clock
from memrepo.errors import MemoryRepoError, ResultExpiredError
from memrepo.jobs import unseen
from memrepo.jobs.state import FETCHING, UNSENT, JobState, state_of
from memrepo.wire.payload import BrokenPayloadError, Payload
from memrepo.wire.payload_store import PayloadMissingError
from memrepo.wire.record import ENDED, Record, Status

T = TypeVar("T")

Decode = Callable[[Payload, str | None], T]
"""Rebuilds a result from its body and the name of its task, where the record says one; raises ValueError."""


class Pending(Generic[T]):
    """What this process knows of one job: its last state and a future of its result.

    ``foreign`` says that another client sent it, so that no reply comes to us. ``queue`` is where it was sent, and
    ``sent`` tells whether the broker holds it; None where that is not known. ``about`` says what it is about, for a
    log: if it fails while nobody looks, that is told (see ``memrepo.jobs.unseen``); nothing is where it is empty. It
    ends once: whatever comes later is passed over.
    """

    def __init__(
        self,
        task_id: str,
        decode: Decode[T],
        *,
        foreign: bool = False,
        queue: str | None = None,
        sent: Future[None] | None = None,
        about: str = "",
    ) -> None:
        self.task_id = task_id
        self.foreign = foreign
        self.queue = queue
        self.sent = sent
        self.about = about
        self.asked_for = False  # whether anybody waited for it, or asked how far it is
        self.looked_at = False
        self.dropped = False
        self.pid = os.getpid()
        self._log_line = ""
        self.status: Status = "unknown" if foreign else "queued"
        self.known_since_s = steady_clock()
        self._since_s = None if foreign else system_clock()
        self._words = ""
        self._in_the_way = ""
        self._decode = decode
        self._begin()

    def _begin(self) -> None:
        """Know nothing of its end, and nobody who waits for it."""
        self.future: Future[T] = Future()
        self.future.set_running_or_notify_cancel()  # whoever is given it cannot cancel it, here or at the worker
        self._ended = self._told = False
        self._ending = threading.Lock()
        self._is_fetched = False
        self._listeners: dict[object, Callable[[], None]] = {}

    def after_fork(self) -> None:
        """Know no more of it, in a child, than of another client's job: the threads that see to it are its parent's.

        They may have been at it just then: so nothing of theirs is asked or waited for, locks least of all.
        """
        self.foreign, self.sent = True, None
        if not self._told:
            self._begin()

    @property
    def shown_status(self) -> Status:
        """Its status for whoever asks, for whom it has ended when its result is here: a large one takes a while."""
        return self._shown(self.status)

    def _shown(self, status: Status) -> Status:
        return status if status not in ENDED or self.future.done() else "running"

    def state(self, *, served: bool | None) -> JobState:
        """Say how far it is; ``served`` tells whether a worker serves its queue."""
        known, words = self.status, self._words
        status = self._shown(known)
        if known in ENDED or self.future.done():
            served = None
        if known != status:
            words = FETCHING
        elif status == "queued" and self.sent is not None and not self.sent.done():
            words = f"{UNSENT}: {self._in_the_way}" if self._in_the_way else UNSENT
        return state_of(status, words, self._since_s, served=served)

    def not_sent_yet(self, reason: str) -> None:
        """Take note of why the broker does not hold it yet."""
        self._in_the_way = reason

    def has_no_record(self) -> None:
        """Take note that there is no record: a worker has not begun, or the store has lost what it had."""
        if not self.foreign:
            self._go_on("queued")

    def settle(self, record: Record) -> None:
        """Take note of a record; the first final one wins."""
        if not record.final:
            self._go_on(record.status, record.reason, record.since_s)
        elif record.status == "done":
            self.finish(Payload(record.result), record.task_name)
        else:
            self.fail(record.error, record.status)

    def fetch(
        self,
        get: Callable[[], Payload],
        missing: Callable[[], ResultExpiredError],
        task_name: str | None = None,
    ) -> bool:
        """End with a result that is a body of its own; return False if it could not be fetched now.

        ``get`` raises PayloadMissingError, which ``missing`` tells, BrokenPayloadError, or whatever else stands for
        "not now".
        """
        with self._ending:
            if self._is_fetched:
                return False  # another thread is at it
            self._is_fetched = True
        try:
            self._go_on("done")
            self.finish(get(), task_name)
        except PayloadMissingError:
            self.fail(missing(), "unknown")
        except BrokenPayloadError:
            self.fail(unreadable(self.task_id))
        finally:
            self._is_fetched = False
        return True

    def finish(self, payload: Payload, task_name: str | None = None) -> None:
        """End with a result, unless it has ended; ``task_name`` is what the record says of its operation."""
        if self._ended:
            return
        try:
            value = self._decode(payload, task_name)
        except (ValueError, RecursionError):
            self.fail(unreadable(self.task_id))
            return
        self.succeed(value)

    def succeed(self, value: T) -> None:
        """End it with a result that is decoded, unless it has ended."""
        if self._end("done"):
            self.future.set_result(value)
            self._told = True
            self._tell_listeners()

    def fail(self, error: MemoryRepoError, status: Status = "failed", *, sent: bool = True) -> None:
        """End it with an error, unless it has ended; ``sent`` is False for one that the broker never took."""
        if self._end(status, error.message):
            self._log_line = unseen.words(self, error, sent=sent)
            self.future.set_exception(error)
            self._told = True
            self._tell_listeners()
            if self.about and status in (
                "failed",
                "cancelled",
                "unknown",
            ):  # or else it goes on, unheard of here
                unseen.remember(self)

    def words(self) -> str:
        """Say how it failed, for a log."""
        return self._log_line

    def look_at(self) -> None:
        """Take note that somebody knows what became of it, or will ask for it by its id."""
        unseen.look_at(self)

    def drop(self) -> None:
        """Take note that its ``Job`` is gone."""
        unseen.drop(self)

    def _go_on(self, status: Status, words: str = "", since_s: float | None = None) -> None:
        with self._ending:
            if not self._ended:
                self._record_state(status, words, since_s)

    def _end(self, status: Status, words: str = "") -> bool:
        """Return whether the caller is the one that ends it."""
        with self._ending:
            first, self._ended = not self._ended, True
            if first:
                self._record_state(status, words, None)
            return first

    def _record_state(self, status: Status, words: str, since_s: float | None) -> None:
        if since_s is not None:
            self._since_s = since_s
        elif status != self.status and (self._since_s is not None or not self.foreign):
            self._since_s = system_clock()  # of a job of another client the first news may be old
        self.status, self._words = status, words

    @contextmanager
    def listening(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have ``tell`` called, in any thread, when the job ends within the block; at once if it has ended.

        The future itself would never forget a callback, and one job may be waited for ten thousand times.
        """
        key = object()
        self.listen(key, tell)
        try:
            yield
        finally:
            self.unlisten(key)

    def listen(self, key: object, tell: Callable[[], None]) -> None:
        """Have ``tell`` called as within ``listening``, until ``unlisten`` gets the same key."""
        self._listeners[key] = tell
        if self.future.done():
            tell()

    def unlisten(self, key: object) -> None:
        """Have what was given with this key called no more."""
        self._listeners.pop(key, None)

    def _tell_listeners(self) -> None:
        for tell in list(self._listeners.values()):
            tell()


def unreadable(job_id: str) -> MemoryRepoError:
    """Return the error for a result that is none; the request of it may have been applied all the same."""
    return MemoryRepoError(
        f"The result of job {job_id} cannot be read: worker and client run different versions of memrepo (upgrade the "
        "workers first, then this client), or something else was written in its place. Ask again for what was read; "
        f'of a write repo.find_request("{job_id}") (or the request id that you chose) tells what became of it.',
        {"job_id": job_id},
    )


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


def gone(job_id: str, kept_at: str, looked_at: str) -> ResultExpiredError:
    """Return the error for a job of which there is a record, and whose large result is not where it should be.

    The two addresses are the worker's of the result store, and this client's; one server may have several.
    """
    where = "it was fetched before, or has expired."
    if kept_at and kept_at != looked_at:
        where = (
            f"the worker keeps it at {kept_at}, and this client looks at {looked_at}. If these are not one server, "
            "MEMREPO_RESULT_URL must be the same for workers and producers; if they are, it was fetched before, or has "
            "expired."
        )
    elif not kept_at:
        where += (
            " If that cannot be, the workers keep results elsewhere: MEMREPO_RESULT_URL must be the same for workers "
            "and producers."
        )
    return ResultExpiredError(
        f"The result of job {job_id} is not at the result store: {where} "
        f'repo.find_request("{job_id}") (or the request id that you chose) tells what became of it.',
        {"job_id": job_id, "request_id": None},
    )


def closed(job_id: str) -> MemoryRepoError:
    """Return the error for waiting on a client that was closed."""
    return MemoryRepoError(
        f"The client was closed while job {job_id} was under way; it goes on. Find it by its id with another client.",
        {"job_id": job_id},
    )
