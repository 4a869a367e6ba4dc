"""Waiting on an event loop for many jobs at once, without a task for each.

A task, a timer and an event for each job take as long as sending it does, and have Python's garbage collector look
through the whole process twice as often.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from memrepo.errors import MemoryRepoError
from memrepo.jobs.job import Job, inquire_of
from memrepo.jobs.waiting import Progress, parts


async def all_ended(jobs: Sequence[Job[object]], timeout_s: float | None, on_progress: Progress) -> bool:
    """Return whether all have ended in time: also in none, if they have already.

    Raises:
        Exception: what ``on_progress`` raised.
    """
    count, ended = len(jobs), 0
    on_progress(ended, count)
    first_s, _ = parts(timeout_s)
    loop = asyncio.get_running_loop()
    asking = None if first_s is None else loop.call_later(first_s, inquire_of, jobs)
    ends = _Ends()
    sending = asyncio.ensure_future(_all_sent(jobs, loop.time()))
    sending.add_done_callback(ends.wake)
    try:
        with ends.of(jobs):
            async with asyncio.timeout(timeout_s) as limit:
                while ended < count:
                    await ends.more()
                    if sending.done():
                        sending.result()
                    for _ in ends.taken():
                        ended += 1
                        on_progress(ended, count)
    except TimeoutError:
        if not limit.expired():
            raise  # it is on_progress that says so
        if not all(job.done() for job in jobs):
            return False
        for number in range(ended + 1, count + 1):  # they ended at the last moment
            on_progress(number, count)
    finally:
        sending.cancel()
        if asking is not None:
            asking.cancel()
    return True


async def _all_sent(jobs: Iterable[Job[object]], began_s: float) -> None:
    """Return when the broker holds all, or they were given up: each when its own time is over."""
    for job in sorted((job for job in jobs if not job.done()), key=_allowed_s):
        with suppress(MemoryRepoError):  # one that was not sent has ended
            await job.enqueued_since(began_s)


def _allowed_s(job: Job[object]) -> float:
    return math.inf if job.sent_within_s is None else job.sent_within_s


class _Ends:
    """The jobs that have ended, as other threads tell it: the loop is called once for all that end meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: deque[Job[object]] = deque()
        self._told: set[Job[object]] = set()
        self._arrived = asyncio.Event()
        self._is_called = False

    @contextmanager
    def of(self, jobs: Sequence[Job[object]]) -> Iterator[None]:
        """Within the block, hear of the ends of these jobs; at once of those that have ended.

        Two of them may be handles of one job (``repos.job(id)`` gives a new one each time): each has a key of its own.
        """
        try:
            for job in jobs:
                if job.done():
                    self._ended.append(job)
                else:
                    job.pending.listen((self, job), partial(self._tell, job))
                    job._watch()
            self._arrived.set()
            yield
        finally:
            for job in jobs:
                job.pending.unlisten((self, job))

    def _tell(self, job: Job[object]) -> None:
        """Note that a job has ended; from any thread, and maybe twice."""
        self._ended.append(job)
        if not self._is_called:
            self._is_called = True
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self.wake)

    def wake(self, _: object = None) -> None:
        """Have ``more`` return."""
        self._is_called = False  # before what has ended is looked at: who ends after that calls again
        self._arrived.set()

    async def more(self) -> None:
        """Return when something may have happened."""
        await self._arrived.wait()
        self._arrived.clear()

    def taken(self) -> Iterator[Job[object]]:
        """Yield each job that has ended once."""
        while self._ended:
            job = self._ended.popleft()
            if job not in self._told:
                self._told.add(job)
                job.look_where_unsent()
                yield job
