"""The synchronous client."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from memrepo.calls import MemoryRepo
from memrepo.desk import QueueDesk
from memrepo.job import Desk, Job, late
from memrepo.settings import Settings


def settings_for(settings: Settings | None, broker_url: str | None, result_url: str | None) -> Settings:
    """Return settings with the given addresses put in; results are kept at the broker unless told otherwise."""
    base = settings or Settings()
    broker = broker_url or base.broker_url
    result = result_url or (broker if broker_url else base.result_url)
    return replace(base, broker_url=broker, result_url=result)


class MemoryRepos:
    """The memories of all agents, for code that may block; ``AsyncMemoryRepos`` is its twin for asyncio.

    Thread-safe; connects at first use; make one per process and keep it. A context manager: leaving it sends what
    waits and disconnects.
    """

    def __init__(
        self,
        *,
        broker_url: str | None = None,
        result_url: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Addresses are ``redis://``, ``rediss://`` or ``redis+socket://``; ``result_url`` defaults to the broker's.

        Raises:
            InvalidRequestError: an address is none of these.
        """
        self._settings = settings_for(settings, broker_url, result_url)
        self._desk: Desk = QueueDesk(self._settings, blocks=True)

    @classmethod
    def over(cls, desk: Desk) -> Self:
        """Make a client over another way to the service than the queue, for tests (``memrepo_worker.testing``)."""
        client = cls.__new__(cls)
        client._settings = Settings(limits=desk.limits)
        client._desk = desk
        return client

    @classmethod
    def from_env(cls) -> Self:
        """Make a client from ``MEMREPO_…`` variables.

        Raises:
            InvalidRequestError: naming the variable that makes no sense.
        """
        return cls(settings=Settings.from_env())

    @property
    def settings(self) -> Settings:
        """What this client was made with."""
        return self._settings

    def repo(self, *, org_id: str, agent_id: str) -> MemoryRepo:
        """Return one agent's memory; asks nobody whether there is one.

        Raises:
            InvalidRequestError: an id is not 1 to 128 letters, digits or ``._@+=-``.
        """
        return MemoryRepo(self._desk, org_id=org_id, agent_id=agent_id)

    def job(self, job_id: str) -> Job[Any]:
        """Return a job by its id, sent by any process; who holds the id may read its result.

        The result has its type again, as no two operations' results look alike.
        """
        return self._desk.find(job_id)

    def wait(
        self,
        jobs: Sequence[Job[Any]],
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Return when all jobs have ended, well or not; then ``job.result()`` does not wait.

        ``on_progress(ended, all)`` is called in this thread, at the begin and whenever one has ended.

        Raises:
            JobTimeoutError: some have not ended within ``timeout_s``; they go on.
        """
        for job in jobs:
            job.attend()
        report = on_progress or _no_report
        futures = {job.future for job in jobs}
        report(0, len(futures))
        try:
            for ended, _ in enumerate(concurrent.futures.as_completed(futures, timeout_s), start=1):
                report(ended, len(futures))
        except TimeoutError:
            unended = next(job for job in jobs if not job.done())
            raise late(unended.id, timeout_s) from None

    def close(self) -> None:
        """Send what waits and disconnect. Jobs go on; ``repos.job(id)`` of another client finds them."""
        self._desk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _no_report(_ended: int, _all: int) -> None:
    """Nobody wants to know."""
