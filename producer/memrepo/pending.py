"""What a client knows of one job on its way: its last state, and its result to be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Generic, TypeVar

from memrepo.bodies import Body, BrokenBodyError
from memrepo.chunks import BodyMissingError
from memrepo.clock import steady_clock
from memrepo.errors import MemoryRepoError, ResultExpiredError
from memrepo.meta import Meta, Status

T = TypeVar("T")

Decode = Callable[[Body, str | None], T]
"""Rebuilds a result from its body and the name of its task, where the record says one; raises ValueError."""


class Pending(Generic[T]):
    """What this process knows of one job: its last state and a future of its result.

    ``foreign`` says that another client sent it, so that no reply comes to us; ``unsent``, that it was given up
    before the broker held it, which says nothing of another attempt under the same id.
    """

    def __init__(self, task_id: str, decode: Decode[T], *, foreign: bool = False) -> None:
        self.task_id = task_id
        self.foreign = foreign
        self.unsent = False
        self.status: Status = "unknown" if foreign else "queued"
        self.since_s = steady_clock()
        self.future: Future[T] = Future()
        self._decode = decode
        self._follows = False
        self._fetching = threading.Lock()

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
            self.finish(Body(record.result), record.task_name)
        else:
            self.fail(record.error, record.status)

    def fetch(self, get: Callable[[], Body], task_name: str | None = None) -> bool:
        """End with a result that is a body of its own; return False if it could not be fetched now.

        ``get`` raises BodyMissingError, BrokenBodyError, or whatever else stands for "not now".
        """
        if not self._fetching.acquire(blocking=False):
            return False  # another thread is at it
        try:
            self.status = "done"
            self.finish(get(), task_name)
        except BodyMissingError:
            self.fail(expired(self.task_id), "unknown")
        except BrokenBodyError:
            self.fail(_unreadable())
        finally:
            self._fetching.release()
        return True

    def finish(self, body: Body, task_name: str | None = None) -> None:
        """End with a result, unless it has ended; ``task_name`` is what the record says of its operation."""
        if self.future.done():
            return
        try:
            value = self._decode(body, task_name)
        except (ValueError, RecursionError):
            self.fail(_unreadable())
            return
        self.status = "done"
        with suppress(InvalidStateError):  # another thread was first
            self.future.set_result(value)

    def follow(self, other: Pending[T], or_else: Callable[[], None] = lambda: None) -> None:
        """End as another one of the same job does; call ``or_else`` if that one was never sent."""
        if self._follows:
            return
        self._follows = True

        def copy(ended: Future[T]) -> None:
            if other.unsent:
                self._follows = False
                or_else()
                return
            error = ended.exception()
            self.status = other.status
            with suppress(InvalidStateError):  # it was looked up meanwhile
                if error is None:
                    self.future.set_result(ended.result())
                else:
                    self.future.set_exception(error)

        other.future.add_done_callback(copy)

    def give_up(self, error: MemoryRepoError) -> None:
        """End it as one that was not sent, unless it has ended."""
        if not self.future.done():
            self.unsent = True
            self.fail(error)

    def fail(self, error: MemoryRepoError, status: Status = "failed") -> None:
        """End it with an error, unless it has ended."""
        if self.future.done():
            return
        self.status = status
        with suppress(InvalidStateError):  # another thread was first
            self.future.set_exception(error)


def _unreadable() -> MemoryRepoError:
    return MemoryRepoError("The result cannot be read: the worker runs another version of memrepo.")


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
