"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from memrepo.face import Face, no_report
from memrepo.job import Job, late


class AsyncMemoryRepos(Face):
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
        jobs: Sequence[Job[Any]],
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[int, int], None] = no_report,
    ) -> None:
        """Return when all jobs have ended, well or not; then ``await job`` does not wait.

        ``on_progress(ended, all)`` is called on the loop, at the begin and whenever one has ended.

        Raises:
            JobTimeoutError: some have not ended within ``timeout_s``; they go on.
        """
        on_progress(0, len(jobs))
        ends = [asyncio.ensure_future(job.ended()) for job in jobs]
        try:
            async with asyncio.timeout(timeout_s):
                for ended, end in enumerate(asyncio.as_completed(ends), start=1):
                    await end
                    on_progress(ended, len(jobs))
        except TimeoutError:
            unended = next(job for job in jobs if not job.done())
            raise late(unended.id, timeout_s) from None
        finally:
            for waiting in ends:
                waiting.cancel()

    async def close(self) -> None:
        """Send what waits and disconnect. Jobs go on; ``repos.job(id)`` of another client finds them."""
        await asyncio.to_thread(self._desk.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
