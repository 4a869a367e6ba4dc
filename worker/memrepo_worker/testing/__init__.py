"""memrepo for your own tests: the real service over a store in memory, inline, without broker or worker.

The clients are the ones that you use in production, so is the code behind them; only the queue between them is left
out. Requests and results still cross as JSON, and every check is made on both sides. docs/testing.md shows more.

    from memrepo_worker.testing import inline_repos

    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-42")
        repo.commit({"human.md": "likes tea"}, "learned", create_repo_if_missing=True)
        assert repo.get_file("human.md").result().text == "likes tea"

With asyncio it is ``async with async_inline_repos() as repos``. With pytest, ask for the fixtures ``memrepo_repos``
and ``async_memrepo_repos``: they are there once memrepo is installed with the worker's dependencies.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from types import TracebackType

from memrepo.async_client import AsyncMemoryRepos
from memrepo.client import MemoryRepos
from memrepo.clock import Clock, system_clock
from memrepo.installed import install_command
from memrepo.limits import Limits
from memrepo_worker.observe import Counters
from memrepo_worker.store.interface import Store

try:
    from memrepo_worker.testing.worker import InlineWorker, inline_worker
except ModuleNotFoundError as error:
    if (error.name or "memrepo").startswith(
        "memrepo"
    ):  # a fault of ours: nothing mends it that could be installed
        raise
    raise ModuleNotFoundError(
        f"{error}. memrepo_worker.testing runs memrepo's worker, so it needs more than the producer. "
        f"Run: {install_command('worker')}",
        name=error.name,
    ) from error

__all__ = ["InlineWorker", "async_inline_repos", "inline_repos", "inline_worker"]


@contextmanager
def inline_repos(
    *,
    store: Store | str | None = None,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    counters: Counters | None = None,
) -> Iterator[MemoryRepos]:
    """Yield a client whose calls have been executed when they return; see ``inline_worker`` for the arguments.

    While the store fails, a call returns with a job that is ``retrying``, as it would be in production.
    """
    with inline_worker(store=store, limits=limits, clock=clock, counters=counters) as worker:
        yield worker.repos()


def async_inline_repos(
    *,
    store: Store | str | None = None,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    counters: Counters | None = None,
) -> AsyncInlineRepos:
    """Return a context manager that yields a client for asyncio; see ``inline_worker`` for the arguments.

    Its calls return at once and are executed in threads, in call order for each agent. Open it by ``async with``, or by
    ``with`` where there is no event loop, as in a fixture: the client belongs to no loop.
    """
    return AsyncInlineRepos(inline_worker(store=store, limits=limits, clock=clock, counters=counters))


class AsyncInlineRepos(
    AbstractContextManager[AsyncMemoryRepos, None], AbstractAsyncContextManager[AsyncMemoryRepos, None]
):
    """Opens an inline client for asyncio, by ``with`` or by ``async with``; the latter never blocks the loop."""

    def __init__(self, worker: AbstractContextManager[InlineWorker]) -> None:
        """Made by ``async_inline_repos``."""
        self._worker = worker
        self._open = ExitStack()

    def __enter__(self) -> AsyncMemoryRepos:
        return self._open.enter_context(self._worker).async_repos()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    async def __aenter__(self) -> AsyncMemoryRepos:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
