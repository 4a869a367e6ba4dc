"""What every call of a memory does: check its request, send it, and return its job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from memrepo.errors import InvalidRequestError
from memrepo.ids import new_id
from memrepo.jobs.job import Dispatcher, Job
from memrepo.validation.values import check_id
from memrepo.wire import operations
from memrepo.wire.operations import Operation
from memrepo.wire.requests.base import Head, Request

Asked = TypeVar("Asked", bound=Request)
T = TypeVar("T")


class Asking:
    """A memory by its ids, and the way of a request of it."""

    def __init__(self, dispatcher: Dispatcher, *, org_id: str, agent_id: str) -> None:
        """Made by ``MemoryRepos.repo``."""
        self.org_id = check_id(org_id, "org_id")
        self.agent_id = check_id(agent_id, "agent_id")
        self._dispatcher = dispatcher

    def __repr__(self) -> str:
        return f"MemoryRepo({self.org_id}/{self.agent_id})"

    def _head(self, request_id: str | None = None) -> Head:
        """Return what every request begins with."""
        return {
            "org_id": self.org_id,
            "agent_id": self.agent_id,
            "request_id": new_id() if request_id is None else request_id,
            "enqueued_at": self._dispatcher.now_s(),
        }

    def _ask(self, operation: Operation[Asked, T], request: Asked, request_id: str | None = None) -> Job[T]:
        """Check a request and send it; ``request_id`` is the caller's own, if there is one.

        The task's id is always a new one: whoever knows it may read the result and cancel the task, and a caller's
        request id may be known to others, or be used by two agents.
        """
        operations.validate(request, self._dispatcher.limits)
        return self._dispatcher.submit(
            operation, request, request.request_id if request_id is None else new_id()
        )


def paths_of(paths: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return paths as a request takes them."""
    if paths is None:
        return None
    if isinstance(paths, str | bytes) or not isinstance(paths, Iterable):
        raise InvalidRequestError.of("paths", "must be a sequence of paths, or None")
    return tuple(paths)
