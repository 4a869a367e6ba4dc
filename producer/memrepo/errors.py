"""Every error that memrepo raises to its users.

    MemoryRepoError
    ├── InvalidRequestError          fix the request: the message names the field
    │   └── TooLargeError            over a limit: the message names the limit and its setting
    ├── RepoNotFoundError            create it first (also a FileNotFoundError)
    │   └── RepoNotAdoptedError      it is stored in the legacy layout: adopt it first
    ├── RepoExistsError              it is there already: commit to it
    ├── RefNotFoundError             no such branch, tag or commit
    ├── PathNotFoundError            no such file at that ref
    ├── HeadMovedError               somebody committed: read again, then decide
    │   └── ContentMovedError        the same, for one file
    ├── MergeConflictError           both sides changed the same: ``details["conflicts"]`` lists the paths
    ├── MemoryRepoBusyError          too many requests wait: wait, then send again
    ├── RequestExpiredError          too old to be executed safely: send it anew
    ├── BrokerUnavailableError       broker or result store cannot be reached or used: the message says why
    ├── StoreUnavailableError        the store cannot be reached or refuses: nothing was lost
    ├── MemoryDamagedError           the journal in the store is damaged: repair what it names
    ├── WorkerFaultError             a fault of memrepo in the worker: its log has more
    ├── WorkerOutdatedError          a newer memrepo wrote to the memory: upgrade the workers
    ├── ResultExpiredError           the result is gone: ``repo.find_request`` tells what became of it
    ├── JobTimeoutError              still running: wait again (also a TimeoutError)
    └── JobCancelledError            cancelled before it started

Each error carries a one-sentence ``message`` and a ``details`` mapping of JSON values, and crosses the
queue as itself.
"""

from __future__ import annotations

import errno
import inspect
from collections.abc import Mapping
from typing import Any, Self

Details = Mapping[str, Any]


class MemoryRepoError(Exception):
    """Something went wrong; the message says what to do next.

    Raised directly only for a fault of memrepo in the client, for a client that was closed, and for a library that is
    missing or does not fit.
    """

    def __init__(self, message: str, details: Details | None = None) -> None:
        self.message = message
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(message, self.details)

    def __str__(self) -> str:
        return self.message

    def again(self) -> Self:
        """Return a new error that says the same.

        What is kept and raised many times, as a job's error is, would grow its traceback with each.
        """
        new = type(self)(self.message, self.details)
        if self.__cause__ is not None:
            new.__cause__ = self.__cause__
        return new

    def __repr__(self) -> str:
        """Name the class alone: a repr may end in logs and in Flower, where no path or text belongs."""
        return f"{type(self).__name__}()"


class InvalidRequestError(MemoryRepoError):
    """The request is malformed; ``details["field"]`` names the field. Fix it, do not send it again."""

    @classmethod
    def of(cls, field: str, reason: str, **details: Any) -> InvalidRequestError:
        """Build the error for one field."""
        return cls(f"{field}: {reason}", {"field": field, **details})

    def within(self, where: str) -> Self:
        """Return the error for the same field of a value that lies in another one, e.g. in ``changes[0]``."""
        field = f"{where}.{self.details['field']}"
        reason = self.message.removeprefix(f"{self.details['field']}: ")
        return type(self)(f"{field}: {reason}", {**self.details, "field": field})


class TooLargeError(InvalidRequestError):
    """A value is over a limit; the message names the limit and the setting that moves it."""


class RepoNotFoundError(MemoryRepoError, FileNotFoundError):
    """The agent has no memory yet. Call ``create_repo`` or commit with ``create_repo_if_missing=True``."""

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message, details)
        # OSError took the two arguments for these.
        self.errno, self.strerror = errno.ENOENT, message


class RepoNotAdoptedError(RepoNotFoundError):
    """The agent's memory is stored in the legacy layout. Run ``memrepo store adopt ORG AGENT`` once."""


class RepoExistsError(MemoryRepoError):
    """The agent has a memory already; nothing was changed. Use ``commit``."""


class RefNotFoundError(MemoryRepoError):
    """No branch, tag or commit of that name. ``list_branches`` says what there is."""


class PathNotFoundError(MemoryRepoError):
    """No such file at that ref. ``list_files`` says what there is."""


class HeadMovedError(MemoryRepoError):
    """The branch or tag is not where ``expected_head`` said. Read ``details["head"]``, then decide anew."""


class ContentMovedError(HeadMovedError):
    """A file is not what ``expected_sha256`` said; ``details`` name the path and its present sha256."""


class MergeConflictError(MemoryRepoError):
    """Both sides changed the same, and nothing was changed. Decide by ``resolutions`` or ``favor``, then merge again.

    ``details["conflicts"]`` lists the first hundred, each with ``path``, ``kind``, the blob's sha in ``base``, ``ours``
    and ``theirs`` (None: no file there) and, where lines conflict, ``hunks``, as far as they fit into 64 KiB;
    ``preview_merge`` gives the contents and all hunks.
    """


class MemoryRepoBusyError(MemoryRepoError):
    """Too many requests wait, or the broker's memory is full; nothing was enqueued. Wait, then send again."""


class RequestExpiredError(MemoryRepoError):
    """The request is older than the ledger's horizon, so it was not executed. Check the history, send anew."""


class BrokerUnavailableError(MemoryRepoError):
    """The broker, or the result store, did not take the request in time, or refuses us.

    The message says which one, where, and why; ``__cause__`` is its own error. Nothing was enqueued, unless
    ``details["may_be_enqueued"]`` is there: the answer to a try was lost. Sending a write again with the same request
    id is safe.
    """


class StoreUnavailableError(MemoryRepoError):
    """The object store cannot be reached or refuses us. Nothing that was acknowledged is affected."""


class MemoryDamagedError(MemoryRepoError):
    """The agent's journal in the store is damaged; nothing was changed, and only this agent is affected.

    ``details["key"]`` names the object. Restore it from a backup; then the same request id may be sent again.
    """


class WorkerFaultError(MemoryRepoError):
    """The request failed by a fault of memrepo. ``repo.find_request(request_id)`` tells whether it was applied.

    ``details`` name request and worker: look for the id in that worker's log. It is safe to send the request again with
    the same id.
    """


class WorkerOutdatedError(MemoryRepoError):
    """A newer memrepo wrote to the agent's memory what this worker does not know; nothing was changed.

    ``details["key"]`` names the object. Upgrade the workers; then the same request id may be sent again.
    """


class ResultExpiredError(MemoryRepoError):
    """The result is no longer kept. ``repo.find_request(request_id)`` tells what became of the request."""


class JobTimeoutError(MemoryRepoError, TimeoutError):
    """The result was not there in time; the job goes on. Wait again, or poll ``job.status()``."""

    def __init__(self, message: str, details: Details | None = None) -> None:
        super().__init__(message, details)
        self.errno, self.strerror = errno.ETIMEDOUT, message  # as above


class JobCancelledError(MemoryRepoError):
    """The job was cancelled before a worker started it; nothing was changed."""


def _tree(root: type[MemoryRepoError]) -> dict[str, type[MemoryRepoError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_NAME: Mapping[str, type[MemoryRepoError]] = _tree(MemoryRepoError)
"""Every error by its class name: the name is what crosses the queue."""


def advice(kind: type[MemoryRepoError]) -> str:
    """Say what an error of that kind means and what to do, whatever its message may hold: its class says it."""
    text = inspect.getdoc(kind) or ""  # none where Python was told to drop docstrings
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "")


def from_wire(name: str, message: str, details: Details | None = None) -> MemoryRepoError:
    """Build the error that a worker of the same or another version named.

    A name that this version does not know becomes a plain ``MemoryRepoError`` with the name in its message.
    """
    known = BY_NAME.get(name)
    if known is None:
        return MemoryRepoError(f"{name}: {message}", details)
    return known(message, details)
