"""Following a memory: its changes as they come."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from memrepo.errors import (
    BrokerUnavailableError,
    JobCancelledError,
    JobTimeoutError,
    MemoryRepoBusyError,
    ResultExpiredError,
    StoreUnavailableError,
    WorkerFaultError,
)
from memrepo.jobs.job import Dispatcher, Job
from memrepo.jobs.waiting import check_on_asyncio
from memrepo.models import Change, ChangeFeed

LOOK_S = 30.0
"""How long it waits to be told of a change before it asks: another broker's workers tell nobody here."""

_TRY_AGAIN_S = 1.0
_GLANCE_S = 5.0
_PASSING = (
    BrokerUnavailableError,
    StoreUnavailableError,
    MemoryRepoBusyError,
    ResultExpiredError,
    JobCancelledError,  # somebody has cancelled the question, as in Flower, and not whoever waits for the answer
    WorkerFaultError,
)


class GetChanges(Protocol):
    """Asks for the changes after a number."""

    def __call__(self, *, after: int | None) -> Job[ChangeFeed]:
        """Return the job."""
        ...


class Watch:
    """The changes of one memory, in order, without end: an iterator, and an asynchronous one.

    It asks when a worker tells that something was written, and every 30 s anyway. ``close`` ends it, from any thread;
    so does leaving a ``with`` or ``async with`` block of it.
    """

    def __init__(
        self, dispatcher: Dispatcher, ask: GetChanges, org_id: str, agent_id: str, after: int | None
    ) -> None:
        """Made by ``MemoryRepo.watch``."""
        self._dispatcher = dispatcher
        self._ask = ask
        self._memory = (org_id, agent_id)
        self._after = after
        self._ready: deque[Change] = deque()
        self._closed = False
        self._woken = threading.Event()
        self._wake_loop: Callable[[], None] = lambda: None
        self._stop_listening: Callable[[], None] | None = None

    def close(self) -> None:
        """End it: whoever waits for the next change is let go, within 5 s where no worker answers."""
        self._closed = True
        if self._stop_listening is not None:
            self._stop_listening()
        self._heard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        check_on_asyncio()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _heard(self) -> None:
        self._woken.set()
        self._wake_loop()

    def _listen(self) -> None:
        """Be told from now on, before it is asked for the first time: so nothing is missed between."""
        if self._stop_listening is None:
            self._stop_listening = self._dispatcher.listen(*self._memory, self._heard)
            if self._closed:  # before, or just now by another thread, which had nothing to stop yet
                self._stop_listening()

    def _take(self, feed: ChangeFeed) -> float:
        """Take over what was found, and return how long to wait for more, if nothing was (s)."""
        self._ready.extend(feed)
        self._after = feed.seq
        return LOOK_S if feed.seq >= feed.newest else 0.0

    # For threads

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """Return the next change, once there is one."""
        while not self._ready and not self._closed:
            pause_s = self._look()
            if not self._ready:
                self._woken.wait(pause_s)
        if self._closed:  # what was found and not handed out is found again by who resumes
            raise StopIteration
        return self._ready.popleft()

    def _look(self) -> float:
        self._woken.clear()
        try:
            self._listen()
            job = self._ask(after=self._after)
            while not self._closed:
                try:
                    return self._take(job.result(timeout_s=_GLANCE_S))
                except JobTimeoutError:
                    continue
        except _PASSING:
            return _TRY_AGAIN_S
        return 0.0

    # For asyncio

    def __aiter__(self) -> Self:
        check_on_asyncio()
        return self

    async def __anext__(self) -> Change:
        """Return the next change, once there is one."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(woken.set)

        self._wake_loop = wake
        while not self._ready and not self._closed:
            woken.clear()
            pause_s = await self._look_on_asyncio()
            if not self._ready and not self._closed:
                try:
                    async with asyncio.timeout(pause_s):
                        await woken.wait()
                except TimeoutError:
                    pass
        if self._closed:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def _look_on_asyncio(self) -> float:
        try:
            self._listen()
            job = self._ask(after=self._after)
            while not self._closed:
                try:
                    return self._take(await job.wait(timeout_s=_GLANCE_S))
                except JobTimeoutError:
                    continue
        except _PASSING:
            return _TRY_AGAIN_S
        return 0.0
