"""A job: one request on its way, to be polled, waited for, awaited or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from memrepo.errors import BrokerUnavailableError, InvalidRequestError, JobTimeoutError, MemoryRepoError
from memrepo.jobs.pending import Pending
from memrepo.jobs.state import JobState, late
from memrepo.jobs.waiting import check_on_asyncio, outcome_of, parts, settled, until_ended, until_one_ended
from memrepo.limits import Limits
from memrepo.validation.values import check_timeout
from memrepo.wire.operations import Asked, Operation
from memrepo.wire.record import Status

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BROKER_ANSWERS_S = 1.0  # how long ``describe`` waits for the broker to say whether the queue is served


class Dispatcher(Protocol):
    """What sends requests and finds jobs: a client's way to the queue, or a test's to an inline worker."""

    @property
    def blocks(self) -> bool:
        """Whether the caller's thread may wait for the network (it may not on an event loop)."""
        ...

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        ...

    def now_s(self) -> float:
        """Wall time: seconds since 1970-01-01 UTC."""
        ...

    def submit(self, operation: Operation[Asked, T], request: Asked, task_id: str) -> Job[T]:
        """Send a checked request; if it ``blocks``, return when the broker holds it."""
        ...

    def find(self, job_id: str) -> Job[Any]:
        """Return a job that any client has sent."""
        ...

    def listen(self, org_id: str, agent_id: str, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called from any thread whenever a memory may have been written to; what comes back ends that.

        It is called once this is heard, too. Some may get lost.
        """
        ...

    def close(self) -> None:
        """Send what waits and disconnect."""
        ...


class Followed(Protocol):
    """What a job asks of whoever sent it or found it."""

    @property
    def blocks(self) -> bool:
        """Whether the caller's thread may wait for the network (it may not on an event loop)."""
        ...

    def look(self, pending: Pending[Any]) -> None:
        """Look a job up now, in the caller's thread; raises BrokerUnavailableError."""
        ...

    def watch(self, pending: Pending[Any]) -> None:
        """See to it that a job is resolved as soon as its result is there."""
        ...

    def is_served(self, pending: Pending[Any]) -> bool | None:
        """Return whether a worker serves a job's queue, as far as is known; None where it is not."""
        ...

    def inquire(self, pending: Pending[Any]) -> Future[None]:
        """Have looked up how far a job is and whether its queue is served, without blocking.

        What comes back is done when that is known, or never, where nobody answers.
        """
        ...

    def cancel(self, pending: Pending[Any]) -> None:
        """Ask that a job not be started."""
        ...

    def forget(self, pending: Pending[Any]) -> None:
        """Keep nothing of a job that was given up: who asks for its id later is told by its record."""
        ...


class Job(Generic[T_co]):
    """One request on its way.

    ``id`` finds it again from any process (``repos.job(id)``): who holds the id may read the result, as long as it
    is kept. ``request_id`` is the caller's, or equal to ``id``; it is None for a job found by its id.

    With asyncio, ``await job`` gives the result; cancelling that await leaves the job running. The other methods
    never block there: ``status`` tells what is known, which is at most ``poll_interval_s`` old, and ``cancel`` is
    done in the background.
    """

    def __init__(
        self,
        dispatcher: Followed,
        pending: Pending[T_co],
        request_id: str | None = None,
        sent_within_s: float | None = None,
        too_late: Callable[[], MemoryRepoError] | None = None,
    ) -> None:
        """Made by a client; the broker holds the request ``sent_within_s``, or it is given up as ``too_late``."""
        self._pending = pending
        self.sent_within_s = sent_within_s
        self._too_late = too_late
        self.id = pending.task_id
        self.request_id = request_id
        self._dispatcher = dispatcher

    def __del__(self) -> None:
        """Have a failure that nobody looked at told: nobody can any more."""
        with suppress(AttributeError):  # a signal handler's exception had ended __init__ before it began
            self._pending.drop()

    def __repr__(self) -> str:
        """Say also what to use where a coroutine is asked for: asyncio puts this into its error."""
        usage = "" if self._dispatcher.blocks else ", to be awaited; job.wait() is a coroutine"
        return f"Job({self.id!r}, {self._pending.shown_status}{usage})"

    def status(self) -> Status:
        """Return ``queued``, ``running``, ``retrying`` (the store is down), ``done``, ``failed`` or ``cancelled``.

        ``unknown`` means that this id has no record: still queued by another client, expired, or never sent. A job
        has ended when ``done()`` says so: while a large result is on its way, it is ``running``.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        self._pending.asked_for = True
        if not self.done():
            self._dispatcher.look(self._pending) if self._dispatcher.blocks else self._dispatcher.watch(
                self._pending
            )
        if self.done():
            self._pending.look_at()
        return self._pending.shown_status

    def describe(self) -> JobState:
        """Return how far the job is and why no further: status, reason in words, since when, and whether served.

        With ``AsyncMemoryRepos`` it tells what is known, and has asked for what is not: the next call, a moment later,
        knows. Without, it takes up to a second where the broker does not answer.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        self.status()
        if not self.done():
            asked = self._inquire()
            if self._dispatcher.blocks:
                with suppress(TimeoutError):
                    asked.exception(BROKER_ANSWERS_S)
        return self._state()

    def done(self) -> bool:
        """Return whether the job has ended, as far as this process knows; asks nobody."""
        return self._pending.future.done()

    def result(self, timeout_s: float | None = None) -> T_co:
        """Wait for the result, at most ``timeout_s`` (None: as long as it takes).

        Raises:
            InvalidRequestError: ``timeout_s`` is no number.
            JobTimeoutError: it is not there yet; the job goes on.
            MemoryRepoError: what became of the request, as its own class.
        """
        if not self.done() and not self._dispatcher.blocks:
            raise MemoryRepoError(
                "result() would block the event loop: `await job`, or `await job.wait(timeout_s=…)`."
            )
        self._watch()
        if not until_one_ended(self._pending.future, timeout_s, self._inquire):
            raise self._late(timeout_s)
        return self._outcome()

    def cancel(self) -> None:
        """Ask that the job not be started; ``status()`` and the result tell whether that came in time.

        A job that has started goes on to its end.

        Raises:
            BrokerUnavailableError: the result store does not answer.
        """
        self._pending.look_at()
        if not self.done():
            self._dispatcher.cancel(self._pending)

    def __await__(self) -> Generator[object, None, T_co]:
        """Give the result, or raise the job's own error."""
        check_on_asyncio()
        return self._result().__await__()

    async def wait(self, timeout_s: float | None = None) -> T_co:
        """Give the result as ``await job`` does, within ``timeout_s`` (None: as long as it takes); for asyncio.

        Raises:
            InvalidRequestError: ``timeout_s`` is no number.
            JobTimeoutError: it is not there yet; the job goes on.
            MemoryRepoError: what became of the request, as its own class.
        """
        check_on_asyncio()
        for part_s in parts(timeout_s):
            with suppress(TimeoutError):
                async with asyncio.timeout(part_s):
                    await self._ended()
            if self.done():
                return self._outcome()
            self._inquire()  # for the last part, which leaves time for it
        raise self._late(timeout_s)

    def add_done_callback(self, *_: object, **__: object) -> NoReturn:
        """Refuse ``asyncio.wait([job])``, which takes whatever has this method, and say what to use.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "A job is no asyncio future: use `await repos.wait([job])`, or hand asyncio.wait "
            "asyncio.ensure_future(job)."
        )

    async def enqueued(self) -> None:
        """Return when the broker holds the request.

        Raises:
            BrokerUnavailableError: it did not take it in time.
            MemoryRepoBusyError: the queue, shared with other agents, is too deep, or the broker's memory is full.
        """
        await self.enqueued_since(asyncio.get_running_loop().time())

    async def enqueued_since(self, began_s: float) -> None:
        """Return as ``enqueued`` does that was called then, by the clock of the loop; for memrepo's own use."""
        sent = self._pending.sent
        if sent is None:
            return
        if not sent.done():
            until_s = None if self.sent_within_s is None else began_s + self.sent_within_s
            try:
                async with asyncio.timeout_at(until_s):
                    await _until_done(sent)
            except TimeoutError:
                error = self._not_sent()
                raise error from error.__cause__
        self._check_sent(sent)

    def wait_enqueued(self) -> None:
        """Return when the broker holds the request, as ``enqueued``; for a thread that may block."""
        sent = self._pending.sent
        if sent is None:
            return
        try:
            with suppress(CancelledError):
                sent.exception(self.sent_within_s)
        except TimeoutError:
            error = self._not_sent()
            raise error from error.__cause__
        self._check_sent(sent)

    def _check_sent(self, sent: Future[None]) -> None:
        if sent.cancelled():  # somebody else waited for it, too, and gave it up
            raise self._not_sent()
        if sent.exception() is not None:
            self._pending.look_at()  # the caller is told now
        outcome_of(sent)

    def _not_sent(self) -> MemoryRepoError:
        """Give the request up; if it is on its way at this moment it may still be applied, once."""
        error: MemoryRepoError = (
            BrokerUnavailableError("The broker did not take the request in time.")
            if self._too_late is None
            else self._too_late()
        )
        if self._pending.sent is not None:
            self._pending.sent.cancel()
        self._pending.look_at()  # the caller is told now
        self._pending.fail(error, sent=False)
        self._dispatcher.forget(self._pending)
        return error

    async def _ended(self) -> None:
        """Return when the job has ended, well or not."""
        self._pending.asked_for = True
        if not self.done():
            with suppress(MemoryRepoError):  # one that was not sent has ended
                await self.enqueued()
            self._watch()
            await until_ended(self._pending)

    async def _result(self) -> T_co:
        await self._ended()
        return self._outcome()

    def _outcome(self) -> T_co:
        self._pending.look_at()
        return outcome_of(self._pending.future)

    def _watch(self) -> None:
        """See to it that ``future`` resolves."""
        self._pending.asked_for = True
        if not self.done():
            self._dispatcher.watch(self._pending)

    def look_where_unsent(self) -> None:
        """Take note that a caller knows of its end, where the broker has not taken it; for memrepo's own use."""
        sent = self._pending.sent
        if sent is not None and sent.done() and (sent.cancelled() or sent.exception() is not None):
            self._pending.look_at()

    def _inquire(self) -> Future[None]:
        """Have looked up how far the job is, in the background."""
        with suppress(MemoryRepoError):  # the client was closed: nothing more will be known
            return self._dispatcher.inquire(self._pending)
        return settled()

    def _late(self, timeout_s: float | None, *, of: int = 1, unended: int = 1) -> JobTimeoutError:
        """Return the error for a wait of that length, for many jobs or this one, with what is known."""
        return late(self.id, timeout_s, self._state(), of=of, unended=unended)

    def _state(self) -> JobState:
        return self._pending.state(served=self._dispatcher.is_served(self._pending))

    @property
    def pending(self) -> Pending[T_co]:
        """What this process knows of it; for memrepo's own use."""
        return self._pending

    @property
    def future(self) -> Future[T_co]:
        """The result to be, for ``concurrent.futures``; of a job found by its id only once it is waited for.

        It cannot be cancelled: ``cancel`` of the job is another thing. Whoever is given it looks after the job.
        """
        self._pending.look_at()
        future = self._pending.future
        if self._pending.foreign:
            vars(future)["job"] = self._pending  # for as long as it is held, the job is looked up
        return future


async def _until_done(future: Future[None]) -> None:
    """Await a thread's future without handing it our cancellation."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def tell(_: Future[None]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrived.set)

    if not future.done():
        future.add_done_callback(tell)
        await arrived.wait()


def check_jobs(jobs: Sequence[object], timeout_s: float | None) -> None:
    """Check what a client is to wait for.

    Raises:
        InvalidRequestError: there is something else than a job among them, or the time is no number of seconds.
    """
    check_timeout(timeout_s)
    if not isinstance(jobs, Iterable):
        raise InvalidRequestError.of("jobs", f"must be a sequence of Job, not {type(jobs).__name__}")
    for index, job in enumerate(jobs):
        if not isinstance(job, Job):
            raise InvalidRequestError.of(f"jobs[{index}]", f"must be Job, not {type(job).__name__}")


def late_of(jobs: Sequence[Job[object]], timeout_s: float | None) -> JobTimeoutError:
    """Return the error for jobs of which some have not ended in time."""
    unended = [job for job in jobs if not job.done()]
    return (unended or jobs)[0]._late(timeout_s, of=len(jobs), unended=len(unended))


def inquire_of(jobs: Sequence[Job[object]]) -> None:
    """Have looked up how far the first of them is that has not ended: the one that a time-out names."""
    for job in jobs:
        if not job.done():
            job._inquire()
            return
