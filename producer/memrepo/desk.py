"""A client's desk at the queue: sends requests off, keeps their jobs, and finds jobs of other clients.

It opens at most five connections to the broker and the result store, at first use, and opens them anew in a
process that was forked off.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from memrepo.clock import steady_clock, system_clock
from memrepo.errors import MemoryRepoError
from memrepo.ids import new_id
from memrepo.job import Job
from memrepo.limits import Limits
from memrepo.link import Message
from memrepo.operations import Operation, result_of_task
from memrepo.pending import Pending
from memrepo.publisher import Publisher
from memrepo.replies import Replies
from memrepo.requests import Request
from memrepo.resend import Resends
from memrepo.routing import route
from memrepo.serving import Serving
from memrepo.settings import Settings
from memrepo.validation import check_request_id

T = TypeVar("T")


class _Wire:
    """The ways to Redis, and the process that they belong to."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.replies = Replies(settings, new_id(), on_poll=self._on_poll)
        self.publisher = Publisher(settings, self.replies.wait_subscribed)
        self.resends = Resends(settings, self.publisher, self.replies.look)
        self.serving = Serving(self.publisher)

    def _on_poll(self) -> None:
        if self.replies.some_wait_long():
            self.serving.ask()
        self.resends.check()

    def close(self) -> None:
        """Send what waits and disconnect."""
        self.publisher.close()
        self.replies.close()


class QueueDesk:
    """The desk of one client. Thread-safe. See ``memrepo.job.Desk`` for what it owes."""

    def __init__(self, settings: Settings, *, blocks: bool) -> None:
        self.settings = settings
        self._blocks = blocks
        self._lock = threading.Lock()
        self._wire: _Wire | None = None
        self._jobs: WeakValueDictionary[str, Pending[Any]] = WeakValueDictionary()
        self._closed = False

    @property
    def blocks(self) -> bool:
        """Whether calls wait for the broker."""
        return self._blocks

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        return self.settings.limits

    def now_s(self) -> float:
        """Wall time: seconds since 1970-01-01 UTC."""
        return system_clock()

    def submit(self, operation: Operation[T], request: Request, task_id: str) -> Job[T]:
        """Send a request and return its job; if this desk blocks, once the broker holds it.

        Raises:
            BrokerUnavailableError: it did not take it in time (if this desk blocks; else the job says so).
            MemoryRepoBusyError: the queue is too deep (likewise).
        """
        wire = self._connected()
        allowed_s = wire.publisher.allowance_s(request.size_bytes)
        message = Message(
            task_id=task_id,
            task_name=operation.task_name,
            request=request,
            queue=route(request.org_id, request.agent_id, self.settings.shards),
            reply_to=wire.replies.channel,
            give_up_at_s=steady_clock() + allowed_s,
        )
        pending: Pending[T] = Pending(
            task_id,
            lambda body, _: operation.result_from_body(body),
            queue=message.queue,
            sent=message.sent,
        )
        message = replace(message, on_trouble=pending.not_sent_yet)
        self._jobs[task_id] = pending
        wire.replies.watch(pending)
        wire.resends.track(message, pending)
        message.sent.add_done_callback(lambda sent: self._unless_sent(sent, pending, wire.replies))
        wire.publisher.send(message)
        # The publisher itself gives up earlier, unless something holds its thread (a name that does not resolve).
        job = Job(
            self,
            pending,
            request.request_id,
            allowed_s + 0.5,
            too_late=lambda: wire.publisher.too_late(request),
        )
        if self._blocks:
            job.wait_enqueued()
        return job

    def find(self, job_id: str) -> Job[Any]:
        """Return a job that any client has sent."""
        check_request_id(job_id, "job_id")
        with self._lock:  # one id has one entry in all tables, however often it is asked for
            pending = self._jobs.get(job_id)
            if pending is None:
                pending = self._jobs[job_id] = Pending(job_id, result_of_task, foreign=True)
        return Job(self, pending)

    def look(self, pending: Pending[Any]) -> None:
        """Look a job up now."""
        self._connected().replies.look(pending)

    def is_served(self, pending: Pending[Any]) -> bool | None:
        """Return whether a worker serves a job's queue, as far as is known."""
        wire = self._wire
        if wire is None or wire.pid != os.getpid() or pending.queue is None:
            return None
        return wire.serving.is_served(pending.queue)

    def inquire(self, pending: Pending[Any]) -> Future[None]:
        """Have looked up how far a job is and whether its queue is served, in the background."""
        wire = self._connected()
        wire.replies.look_soon(pending)
        return wire.serving.ask()

    def attend(self, pending: Pending[Any]) -> None:
        """Resolve a job as soon as its result is there."""
        if not pending.foreign:  # watched since it was sent
            return
        replies = self._connected().replies
        if self._blocks:
            replies.look(pending)
        if not pending.future.done():
            replies.start()
            replies.watch(pending)

    def cancel(self, pending: Pending[Any]) -> None:
        """Ask that a job not be started: its record decides, and every worker looks there before it begins."""
        replies = self._connected().replies
        if self._blocks:
            replies.cancel(pending.task_id)
            replies.look(pending)
        else:
            replies.cancel_soon(pending.task_id)

    def close(self) -> None:
        """Send what waits, for as long as that may take, and disconnect."""
        with self._lock:
            wire, self._wire, self._closed = self._wire, None, True
        if wire is not None and wire.pid == os.getpid():
            wire.close()

    def _unless_sent(self, sent: Future[None], pending: Pending[Any], replies: Replies) -> None:
        """End the job of a request that was not sent; who asks for it by its id later is told by its record."""
        error = None if sent.cancelled() else sent.exception()
        if sent.cancelled() or isinstance(error, MemoryRepoError):
            replies.forget(pending)
            self._jobs.pop(pending.task_id, None)
        if isinstance(error, MemoryRepoError):
            pending.fail(error)

    def _connected(self) -> _Wire:
        with self._lock:
            if self._closed:
                raise MemoryRepoError("The client is closed: make a new one.")
            if self._wire is None or self._wire.pid != os.getpid():
                self._wire = _Wire(self.settings)
            return self._wire
