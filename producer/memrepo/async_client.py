"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

from memrepo.client_base import ClientBase, no_report
from memrepo.jobs.job import Job, check_jobs, late_of
from memrepo.jobs.many import all_ended
from memrepo.jobs.waiting import Progress, check_on_asyncio


class AsyncMemoryRepos(ClientBase):
    """The memories of all agents, for asyncio; ``MemoryRepos`` is its twin for code that may block.

    Every call is a plain function that checks its request, hands it to a background thread and returns a ``Job`` at
    once: ``await`` it for the result, ``await job.enqueued()`` to know that the broker holds it, or leave it. Calls
    for one agent are enqueued in call order, awaited or not. Nothing here blocks the event loop.

    Cancelling an ``await`` (also by ``asyncio.timeout``) leaves the job running; ``job.cancel()`` asks that it not be
    started. Leaving ``async with`` sends what waits, then disconnects.
    """

    BLOCKS: ClassVar[bool] = False

    async def wait(
        self,
        jobs: Sequence[Job[object]],
        *,
        timeout_s: float | None = None,
        on_progress: Progress = no_report,
    ) -> None:
        """Return when all jobs have ended, well or not; then ``await job`` does not wait.

        It tells nothing of how they ended: a failure that nobody looks at afterwards is logged as one (docs/api.md).

        ``on_progress(ended, all)`` is called on the loop, at the begin and whenever one has ended.

        Raises:
            InvalidRequestError: there is something else than a job among them, or ``timeout_s`` is no number.
            JobTimeoutError: some have not ended within ``timeout_s``; they go on.
        """
        check_on_asyncio()
        check_jobs(jobs, timeout_s)
        jobs = list(dict.fromkeys(jobs))
        if not await all_ended(jobs, timeout_s, on_progress):
            raise late_of(jobs, timeout_s)

    async def close(self) -> None:
        """Send what waits and disconnect. Jobs go on; ``repos.job(id)`` of another client finds them."""
        check_on_asyncio()
        await asyncio.to_thread(self._dispatcher.close)

    async def __aenter__(self) -> Self:
        check_on_asyncio()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
