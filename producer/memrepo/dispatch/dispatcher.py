"""A client's way to the queue: sends requests off, keeps their jobs, and finds jobs of other clients.

It opens at most five connections to the broker and the result store, at first use, and opens them anew in a
process that was forked off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

from memrepo.clock import steady_clock, system_clock
from memrepo.dispatch.connection import Message
from memrepo.dispatch.publisher import Publisher
from memrepo.dispatch.replies import Replies
from memrepo.dispatch.session import Connections
from memrepo.errors import MemoryRepoError
from memrepo.jobs.job import Job
from memrepo.jobs.pending import Pending
from memrepo.limits import Limits
from memrepo.routing import route
from memrepo.settings import Settings
from memrepo.tracing.caller import CallersContext
from memrepo.tracing.spans import AGENT, JOB_ID, OPERATION, ORG, QUEUE, REQUEST_ID, SendTrace, begin_send
from memrepo.validation.values import check_request_id
from memrepo.wire.keys import changes_channel
from memrepo.wire.operations import Asked, Operation, result_of_task
from memrepo.wire.requests.base import Request

T = TypeVar("T")


class QueueDispatcher:
    """The dispatcher of one client. Thread-safe. See ``memrepo.jobs.job.Dispatcher`` for what it owes."""

    _connections: Connections | None = None  # also where a signal handler's exception has ended __init__

    def __init__(self, settings: Settings, *, blocks: bool) -> None:
        self.settings = settings
        self._blocks = blocks
        self._lock = threading.Lock()
        self._jobs: WeakValueDictionary[str, Pending[Any]] = WeakValueDictionary()
        self._closed = False
        _dispatchers.add(self)

    def __del__(self) -> None:
        """Warn of a client that nobody closed; what it has sent, or will have, is seen to its end."""
        if self._connections is not None:
            self._connections.retire()

    def after_fork(self) -> None:
        """Open connections of its own in a child: the parent's belong to threads that are not here."""
        self._lock, self._connections = threading.Lock(), None
        for pending in list(self._jobs.values()):
            pending.after_fork()

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

    def submit(self, operation: Operation[Asked, T], request: Asked, task_id: str) -> Job[T]:
        """Send a request and return its job; if this dispatcher blocks, once the broker holds it.

        Raises:
            BrokerUnavailableError: it did not take it in time (if this dispatcher blocks; else the job says so).
            MemoryRepoBusyError: the queue is too deep (likewise).
        """
        connections = self._connected()
        size_bytes = request.size_bytes
        allowed_s = connections.publisher.allowance_s(size_bytes)
        queue = route(request.org_id, request.agent_id, self.settings.shards)
        sent: Future[None] = Future()
        pending: Pending[T] = Pending(
            task_id,
            operation.decode,
            queue=queue,
            sent=sent,
            about=f"{operation.name} of {request.org_id}/{request.agent_id}",
        )
        message = Message(
            task_id=task_id,
            task_name=operation.task_name,
            request=request,
            queue=queue,
            reply_to=connections.replies.channel,
            give_up_at_s=steady_clock() + allowed_s,
            sent=sent,
            on_trouble=pending.not_sent_yet,
            trace=_trace(operation, request, task_id, queue, sent),
            caller=CallersContext(),
            size_bytes=size_bytes,
        )
        self._jobs[task_id] = pending
        # The publisher itself gives up earlier, unless something holds its thread (a name that does not resolve).
        job = Job(
            self,
            pending,
            request.request_id,
            allowed_s + 0.5,
            too_late=partial(_given_up, connections.publisher, message),
        )
        try:
            self._send(connections, message, pending)
            if self._blocks:
                job.wait_enqueued()
        except BaseException:  # Ctrl+C, too: it tells the caller
            pending.look_at()
            raise
        return job

    def _send(self, connections: Connections, message: Message, pending: Pending[Any]) -> None:
        replies = connections.replies
        replies.start()  # here, as a thread that sends while the interpreter exits could start no other
        replies.watch(pending)
        connections.resends.track(message, pending)
        message.sent.add_done_callback(partial(_unless_sent, pending, replies, self._jobs))
        if message.caller is not None:
            message.sent.add_done_callback(message.caller.forget)
        connections.publisher.send(message)

    def find(self, job_id: str) -> Job[Any]:
        """Return a job that any client has sent."""
        check_request_id(job_id, "job_id")
        with self._lock:  # one id has one entry in all tables, however often it is asked for
            pending = self._jobs.get(job_id)
            if pending is None:
                pending = self._jobs[job_id] = Pending(job_id, result_of_task, foreign=True)
        pending.look_at()  # whoever keeps its id looks after it
        return Job(self, pending)

    def look(self, pending: Pending[Any]) -> None:
        """Look a job up now."""
        self._connected().replies.look(pending)

    def is_served(self, pending: Pending[Any]) -> bool | None:
        """Return whether a worker serves a job's queue, as far as is known."""
        connections = self._connections
        return None if connections is None else connections.serving.is_served(pending.queue)

    def listen(self, org_id: str, agent_id: str, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called whenever a worker tells that a memory was written to."""
        replies = self._connected().replies
        replies.start()
        return replies.changes.listen(changes_channel(org_id, agent_id), heard)

    def inquire(self, pending: Pending[Any]) -> Future[None]:
        """Have looked up how far a job is and whether its queue is served, in the background."""
        connections = self._connected()
        connections.replies.look_soon(pending)
        return connections.serving.ask()

    def watch(self, pending: Pending[Any]) -> None:
        """Resolve a job as soon as its result is there."""
        replies = self._connected().replies
        if replies.watches(pending):
            return
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

    def forget(self, pending: Pending[Any]) -> None:
        """Keep nothing of a job that was given up: its request may be on its way still."""
        if self._jobs.get(pending.task_id) is pending:
            del self._jobs[pending.task_id]
        if self._connections is not None:
            self._connections.replies.forget(pending)

    def begin_closing(self) -> float:
        """Take nothing more on; return how long what waits may take (s): ``close`` is next."""
        with self._lock:
            self._closed = True
            return 0.0 if self._connections is None else self._connections.begin_closing()

    def close(self, within_s: float | None = None) -> None:
        """Send what waits, within ``within_s`` or as long as that may take, and disconnect."""
        with self._lock:
            connections, self._connections, self._closed = self._connections, None, True
        if connections is not None:
            connections.close(within_s)

    def _connected(self) -> Connections:
        with self._lock:
            if self._closed:
                raise MemoryRepoError("The client is closed: make a new one.")
            if self._connections is None:
                owner = "MemoryRepos" if self._blocks else "AsyncMemoryRepos"
                self._connections = Connections(self.settings, owner)
            return self._connections


def _given_up(publisher: Publisher, message: Message) -> MemoryRepoError:
    """Give up a message that was not taken in time; return the error."""
    return message.given_up(publisher.too_late(message.request))


_dispatchers: WeakSet[QueueDispatcher] = WeakSet()


def _after_fork() -> None:
    for dispatcher in list(_dispatchers):
        dispatcher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _trace(
    operation: Operation[Any, Any], request: Request, task_id: str, queue: str, sent: Future[None]
) -> SendTrace | None:
    """Begin the span of a request that is to be sent; it ends when the broker holds it."""
    about = {
        OPERATION: operation.name,
        ORG: request.org_id,
        AGENT: request.agent_id,
        REQUEST_ID: request.request_id,
        JOB_ID: task_id,
        QUEUE: queue,
    }
    trace = begin_send(operation.task_name, about)
    if trace is not None:
        sent.add_done_callback(trace.end)
    return trace


def _unless_sent(
    pending: Pending[Any],
    replies: Replies,
    jobs: WeakValueDictionary[str, Pending[Any]],
    sent: Future[None],
) -> None:
    """End the job of a request that was not sent; who asks for it by its id later is told by its record."""
    error = None if sent.cancelled() else sent.exception()
    if sent.cancelled() or isinstance(error, MemoryRepoError):
        replies.forget(pending)
        jobs.pop(pending.task_id, None)
    if isinstance(error, MemoryRepoError):
        pending.fail(error, sent=False)
