"""memrepo for your own tests: the real service over a store in memory, inline, without broker or worker.

The client is the one that you use in production, so is the code behind it; only the queue between them is left out:
each call is executed before it returns. Requests and results still cross as JSON, and every check is made on both
sides.

    from memrepo_worker.testing import inline_repos

    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-42")
        repo.commit({"human.md": "likes tea"}, "learned", create_repo_if_missing=True)
        assert repo.get_file("human.md").result().text == "likes tea"

With pytest, ask for the fixture ``memrepo_repos`` (or ``async_memrepo_repos``): it is there once memrepo is installed
with the worker's dependencies.
"""

from __future__ import annotations

import json
import math
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from memrepo.bodies import decode, encode
from memrepo.client import MemoryRepos
from memrepo.clock import Clock, system_clock
from memrepo.errors import MemoryRepoError, StoreUnavailableError
from memrepo.job import Job
from memrepo.limits import Limits
from memrepo.operations import Operation, build, request_to_body, validate
from memrepo.pending import Pending
from memrepo.requests import HEAD_FIELDS, Request
from memrepo_worker.assembly import open_service
from memrepo_worker.group import Agent, Group, GroupHandler, Lease, Success
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.memory import MemoryStore
from memrepo_worker.store.seam import Store, StoreError

T = TypeVar("T")

_LEASE = Lease("inline", math.inf)


class InlineDesk:
    """The way to a service in the same process; see ``memrepo.job.Desk`` for what it owes."""

    def __init__(self, handler: GroupHandler, limits: Limits, clock: Clock, *, blocks: bool = True) -> None:
        self._handler = handler
        self._limits = limits
        self._clock = clock
        self._blocks = blocks
        self._lock = threading.Lock()
        self._jobs: dict[str, Pending[Any]] = {}

    @property
    def blocks(self) -> bool:
        """Whether the caller's thread may wait."""
        return self._blocks

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        return self._limits

    def now_s(self) -> float:
        """Wall time: seconds since 1970-01-01 UTC."""
        return self._clock()

    def submit(self, operation: Operation[T], request: Request, task_id: str) -> Job[T]:
        """Execute a request; the job that comes back has ended.

        Raises:
            StoreUnavailableError: the store failed; a worker would try again, here the caller does.
        """
        pending = Pending(task_id, lambda body, _: operation.result_from_body(body))
        sent: Future[None] = Future()
        sent.set_result(None)
        with self._lock:
            first = self._jobs.setdefault(task_id, pending)
            if first is pending:
                try:
                    self._execute(operation, request, pending)
                except StoreError as error:
                    del self._jobs[task_id]
                    raise StoreUnavailableError(f"the store failed: {error}") from error
            else:
                pending.follow(first)
        return Job(self, pending, sent, request.request_id)

    def _execute(self, operation: Operation[T], request: Request, pending: Pending[T]) -> None:
        arrived = _crossed(request)
        validate(arrived, self._limits)
        agent = Agent(arrived.org_id, arrived.agent_id)
        (outcome,) = self._handler(Group(agent, (arrived,), _LEASE))
        if isinstance(outcome, Success):
            body = operation.result_to_body(outcome.value)
            pending.finish(decode(encode(body, compress=False), body.size_bytes))
        else:
            pending.fail(outcome)

    def find(self, job_id: str) -> Job[Any]:
        """Return a job of this desk."""
        with self._lock:
            pending = self._jobs.get(job_id)
        return Job(self, pending or Pending(job_id, _unreadable, foreign=True))

    def look(self, pending: Pending[Any]) -> None:
        """Do nothing: every job has ended."""

    def attend(self, pending: Pending[Any]) -> None:
        """End a job that this desk never saw: nothing will come of it."""
        if not pending.future.done():
            pending.fail(MemoryRepoError(f"no job {pending.task_id} was sent here"), "unknown")

    def cancel(self, pending: Pending[Any]) -> None:
        """Do nothing: every job has ended."""

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _crossed(request: Request) -> Request:
    """Return a request as it would arrive over the queue."""
    body = request_to_body(request)
    arrived = decode(encode(body, compress=False), body.size_bytes)
    head = json.loads(request.model_dump_json(include=set(HEAD_FIELDS)))
    return build(type(request), arrived.contents, **arrived.value, **head)


def _unreadable(*_: Any) -> Any:  # noqa: ANN401 - a result that never comes
    raise ValueError


@contextmanager
def inline_desk(
    *,
    store: Store | None = None,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    counters: Counters | None = None,
    blocks: bool = True,
) -> Iterator[InlineDesk]:
    """Open a desk over a service of its own; see ``inline_repos`` for the arguments."""
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="memrepo-") as folder:
        settings = WorkerSettings(cache_dir=Path(folder), limits=limits)
        with open_service(
            settings, counters or Counters(), store=store or MemoryStore(), clock=clock
        ) as service:
            yield InlineDesk(service, limits, clock, blocks=blocks)


@contextmanager
def inline_repos(
    *,
    store: Store | None = None,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    counters: Counters | None = None,
) -> Iterator[MemoryRepos]:
    """Yield a client whose calls are executed inline.

    Args:
        store: where the journals live; by default a new, empty one in memory.
        limits: what requests are checked against.
        clock: wall time; give one of your own to make commits' dates and shas repeatable.
        counters: counts store requests and processes.
    """
    with inline_desk(store=store, limits=limits, clock=clock, counters=counters) as desk:
        yield MemoryRepos.over(desk)
