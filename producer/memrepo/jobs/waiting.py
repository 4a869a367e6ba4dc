"""Waiting for jobs that are under way, in a thread or on an event loop, for no longer than the caller allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, as_completed
from contextlib import suppress
from typing import Any, TypeVar

from memrepo.errors import MemoryRepoError
from memrepo.jobs.pending import Pending
from memrepo.validation.values import check_timeout

T = TypeVar("T")

ASKING_S = 0.3

Progress = Callable[[int, int], None]
"""Is told how many have ended, and of how many."""


def settled() -> Future[None]:
    """Return a future of something that is done."""
    future: Future[None] = Future()
    future.set_result(None)
    return future


def outcome_of(future: Future[T]) -> T:
    """Return what an ended future holds, or raise its error: a new one each time, with a traceback of its own."""
    error = future.exception()
    if isinstance(error, MemoryRepoError):
        raise error.again()
    return future.result()


def parts(timeout_s: float | None) -> tuple[float | None, float]:
    """Part a wait: what comes first, and its end, before which there is time to ask how far the job is.

    So the error of a time-out tells the present state, and asking for it takes no time beyond the caller's limit.

    Raises:
        InvalidRequestError: it is no number of seconds.
    """
    check_timeout(timeout_s)
    if timeout_s is None:
        return None, 0.0
    last_s = max(0.0, min(ASKING_S, timeout_s / 2))
    return timeout_s - last_s, last_s


def until_one_ended(future: Future[Any], timeout_s: float | None, ask: Callable[[], object]) -> bool:
    """Return whether it has ended in time, having called ``ask`` shortly before the end of that time."""
    first_s, last_s = parts(timeout_s)
    with suppress(TimeoutError):
        future.exception(first_s)
        return True
    ask()
    with suppress(TimeoutError):
        future.exception(last_s)
    return future.done()


def until_all_ended(
    jobs: Collection[Pending[Any]],
    timeout_s: float | None,
    on_progress: Progress,
    ask: Callable[[], object],
) -> bool:
    """Return whether all have ended in time, having called ``ask`` shortly before the end of that time."""
    left = {job.future for job in jobs}
    count = len(left)
    on_progress(0, count)
    for part_s in parts(timeout_s):
        for future in _as_completed(left, part_s):
            left.discard(future)
            on_progress(count - len(left), count)
        if all(future.done() for future in left):
            break
        ask()
    else:
        return False
    for number in range(count - len(left) + 1, count + 1):  # they ended at the last moment
        on_progress(number, count)
    return True


def _as_completed(futures: Collection[Future[Any]], timeout_s: float | None) -> Iterator[Future[Any]]:
    """Yield futures as they end; stop where the time is over."""
    ends = as_completed(list(futures), timeout_s)
    while (ended := _next_of(ends)) is not None:
        yield ended


def _next_of(ends: Iterator[Future[Any]]) -> Future[Any] | None:
    try:
        return next(ends, None)
    except TimeoutError:
        return None


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
