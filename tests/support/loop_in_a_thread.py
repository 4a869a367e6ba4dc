"""The client for asyncio with the methods of the one that blocks, so that one suite runs on both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from memrepo import AsyncMemoryRepos, Change, Job, JobState, MemoryRepo, MemoryRepos, Status
from memrepo.repo.watch import Watch

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own; everything that touches the client runs there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        async def called() -> T:
            return function(*args, **kwargs)

        return self.run(called())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class BlockingJob:
    """A job of the client for asyncio, waited for by a thread."""

    def __init__(self, loop: Loop, job: Job[Any]) -> None:
        self._loop = loop
        self.job = job
        self.id, self.request_id = job.id, job.request_id

    def result(self, timeout_s: float | None = None) -> Any:
        return self._loop.run(self.job.wait(timeout_s))

    def describe(self) -> JobState:
        return self._loop.call(self.job.describe)

    @property
    def future(self) -> Future[Any]:
        return self.job.future

    def status(self) -> Status:
        return self._loop.call(self.job.status)

    def done(self) -> bool:
        return self._loop.call(self.job.done)

    def cancel(self) -> None:
        self._loop.call(self.job.cancel)

    def wait_enqueued(self) -> None:
        self._loop.run(self.job.enqueued())


class BlockingWatch:
    """A watch of the client for asyncio, followed by a thread."""

    def __init__(self, loop: Loop, watch: Watch) -> None:
        self._loop = loop
        self._watch = watch

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        try:
            return self._loop.run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._loop.call(self._watch.close)


class _BlockingRepo:
    def __init__(self, loop: Loop, repo: MemoryRepo) -> None:
        self._loop = loop
        self._repo = repo

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._repo, name)
        if not callable(attribute):
            return attribute

        @wraps(attribute)
        def call(*args: Any, **kwargs: Any) -> BlockingJob | BlockingWatch:
            made = self._loop.call(attribute, *args, **kwargs)
            wrap = BlockingWatch if isinstance(made, Watch) else BlockingJob
            return wrap(self._loop, made)

        return call


class _BlockingRepos:
    def __init__(self, loop: Loop, repos: AsyncMemoryRepos) -> None:
        self._loop = loop
        self._repos = repos

    def repo(self, *, org_id: str, agent_id: str) -> _BlockingRepo:
        return _BlockingRepo(self._loop, self._loop.call(self._repos.repo, org_id=org_id, agent_id=agent_id))

    def list_memories(self, org_id: str, **options: Any) -> BlockingJob:
        return BlockingJob(self._loop, self._loop.call(self._repos.list_memories, org_id, **options))

    def job(self, job_id: str) -> BlockingJob:
        return BlockingJob(self._loop, self._loop.call(self._repos.job, job_id))

    def wait(self, jobs: Sequence[BlockingJob], **options: Any) -> None:
        self._loop.run(self._repos.wait([job.job for job in jobs], **options))

    def close(self) -> None:
        self._loop.run(self._repos.close())


@contextmanager
def as_if_blocking(repos: AsyncMemoryRepos) -> Iterator[MemoryRepos]:
    """Give a client for asyncio the methods of ``MemoryRepos``."""
    loop = Loop()
    try:
        yield cast("MemoryRepos", _BlockingRepos(loop, repos))
    finally:
        loop.stop()
