"""Waiting for jobs that are under way, in a thread or on an event loop, for no longer than the caller allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Future, as_completed
from contextlib import suppress
from typing import Any, TypeVar

from memrepo.errors import MemoryRepoError
from memrepo.pending import Pending

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Is told how many have ended, and of how many."""


def outcome_of(future: Future[T]) -> T:
    """Return what an ended future holds, or raise its error: a new one each time, with a traceback of its own."""
    error = future.exception()
    if isinstance(error, MemoryRepoError):
        raise error.again()
    return future.result()


def until_all_ended(jobs: Collection[Pending[Any]], timeout_s: float | None, on_progress: Progress) -> bool:
    """Return whether all have ended in time; for a thread that may block."""
    left = {job.future for job in jobs}
    count = len(left)
    on_progress(0, count)
    ends = as_completed(left, timeout_s)
    while left:
        try:
            left.discard(next(ends))
        except TimeoutError:
            if not all(future.done() for future in left):
                return False
            ends = as_completed(left)  # they ended at the last moment
        else:
            on_progress(count - len(left), count)
    return True


async def until_ended(job: Pending[Any]) -> None:
    """Return when a job has ended, however often this is begun and cancelled."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrived.set)

    if not job.future.done():
        with job.listening(tell):
            await arrived.wait()


def check_on_asyncio() -> None:
    """Check that an asyncio event loop runs in this thread.

    Raises:
        MemoryRepoError: none does; it says what to use elsewhere.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise MemoryRepoError(
            "Jobs are awaited on an asyncio event loop. Elsewhere use MemoryRepos in a thread; with trio: "
            "`await trio.to_thread.run_sync(job.result)`."
        ) from None
