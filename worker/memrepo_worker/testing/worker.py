"""The inline worker: mailbox, service and store as a worker has them, in threads of this process."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from memrepo.async_client import AsyncMemoryRepos
from memrepo.client import MemoryRepos
from memrepo.clock import Backoff, Clock, system_clock
from memrepo.errors import MemoryRepoError
from memrepo.limits import Limits
from memrepo.wire.operations import Operation
from memrepo.wire.requests.base import Request
from memrepo_worker.assembly import open_service
from memrepo_worker.group import Agent, GroupHandler, Lease
from memrepo_worker.observe import Counters
from memrepo_worker.scheduling.attempts import RetryRules
from memrepo_worker.scheduling.mailbox import Mailbox
from memrepo_worker.scheduling.mailbox_bounds import MailboxBounds
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.retry import RetryPolicy
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.testing.dispatcher import InlineDispatcher
from memrepo_worker.testing.outage import StoreWithOutages
from memrepo_worker.testing.request import InlineRequest, InlineResponder

_TURNS = 4
_GLANCE_S = 0.05

_NO_LEASE = Lease("inline", 0.0)
"""It never holds, so each turn asks the store: another process, or another inline worker, may write there too."""

# A test should not wait long for what it provokes.
_RETRY = RetryPolicy(backoff=Backoff(first_s=0.001, max_s=0.004, jitter=1.0))
_BACKOFF = Backoff(first_s=0.01, max_s=0.05, jitter=0.5)


class InlineWorker:
    """A worker in this process; ``repos`` and ``async_repos`` make clients of it, as many as one likes.

    All of them see the same memories and find each other's jobs by their ids, as clients of one broker do.
    """

    def __init__(
        self,
        handler: GroupHandler,
        store: StoreWithOutages,
        *,
        limits: Limits,
        clock: Clock,
        counters: Counters,
    ) -> None:
        """Made by ``inline_worker``."""
        self.limits = limits
        self.clock = clock
        self._store = store
        self._listeners: list[tuple[Agent, Callable[[], None]]] = []
        self._responder = InlineResponder(limits, self._changed)
        self._threads = ThreadPoolExecutor(_TURNS, thread_name_prefix="memrepo-inline")
        self._mailbox: Mailbox[InlineRequest] = Mailbox(
            handler,
            self._responder,
            rules=RetryRules(lambda _: _NO_LEASE, Random(), counters, _BACKOFF),  # noqa: S311 - jitter
            submit=self._threads.submit,
            bounds=MailboxBounds(turns_max=_TURNS),
        )
        self._lock = threading.Lock()
        self._taken: dict[str, InlineRequest] = {}
        self._held_back: list[InlineRequest] | None = None
        self._clients: list[InlineDispatcher] = []
        self._ended = False

    def repos(self) -> MemoryRepos:
        """Return a client whose calls have been executed when they return."""
        return MemoryRepos.over(self._client(blocks=True))

    def async_repos(self) -> AsyncMemoryRepos:
        """Return a client for asyncio. Its calls are executed in threads; it belongs to no event loop."""
        return AsyncMemoryRepos.over(self._client(blocks=False))

    @property
    def is_paused(self) -> bool:
        """Whether it begins nothing now."""
        return self._held_back is not None

    @contextmanager
    def store_outage(self) -> Iterator[None]:
        """Have the store fail while the block runs: requests are ``retrying``, and done after it."""
        self._store.away = True
        try:
            yield
        finally:
            self._store.away = False
            self._responder.unavailable.clear()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Begin nothing while the block runs, as if no worker were there: requests stay ``queued``, in order."""
        with self._lock:
            if self._held_back is not None:
                raise RuntimeError("the inline worker is paused already")
            self._held_back = []
        try:
            yield
        finally:
            with self._lock:
                waiting, self._held_back = self._held_back, None
                for ticket in waiting:
                    self._mailbox.park(ticket)

    def take(self, operation: Operation[Any, Any], request: Request, task_id: str) -> InlineRequest:
        """Put a request behind those of its agent, unless it is there already.

        Raises:
            MemoryRepoError: the worker has ended.
        """
        with self._lock:
            if self._ended:
                raise MemoryRepoError("The inline worker has ended: use its clients inside its block.")
            known = self._taken.get(task_id)
            if known is not None:
                return known
            ticket = self._taken[task_id] = InlineRequest(operation, request, task_id)
            if self._held_back is None:
                self._mailbox.park(ticket)
            else:
                self._held_back.append(ticket)
            return ticket

    def wait(self, ticket: InlineRequest) -> None:
        """Return when a request has ended, or nobody knows when it will: the worker is paused, or the store fails."""
        while self._held_back is None and ticket.agent not in self._responder.unavailable:
            if ticket.ended.wait(_GLANCE_S):
                return

    def listen(self, agent: Agent, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called whenever a memory was written to; what comes back ends that."""
        listener = (agent, heard)
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                self._listeners = [one for one in self._listeners if one is not listener]

        return stop

    def _changed(self, agent: Agent) -> None:
        with self._lock:
            heard = [one for whose, one in self._listeners if whose == agent]
        for one in heard:
            one()

    def find(self, task_id: str) -> InlineRequest | None:
        """Return the request that a client has sent under that id."""
        with self._lock:
            return self._taken.get(task_id)

    def end(self) -> None:
        """Close the clients and finish what they sent, but for what waits for a store that fails."""
        with self._lock:
            self._ended = True
        for client in self._clients:
            client.close()
        while not self._mailbox.drain(lambda agent: agent not in self._responder.unavailable, _GLANCE_S):
            pass
        self._mailbox.stop()
        self._threads.shutdown()
        self._responder.abandon(self._mailbox.withdraw(lambda _: True))

    def _client(self, *, blocks: bool) -> InlineDispatcher:
        client = InlineDispatcher(self, blocks=blocks)
        self._clients.append(client)
        return client


@contextmanager
def inline_worker(
    *,
    store: Store | str | None = None,
    limits: Limits | None = None,
    clock: Clock = system_clock,
    counters: Counters | None = None,
) -> Iterator[InlineWorker]:
    """Run a worker in this process until the block ends.

    Args:
        store: where the journals live, also as an address like ``MEMREPO_STORE_URL``; by default new and in memory.
        limits: what requests are checked against.
        clock: wall time, in seconds since 1970-01-01 UTC. One of your own makes commits' dates repeatable, and request
            ids of your own their shas.
        counters: counts store requests and processes.
    """
    limits = limits or Limits()
    counters = counters or Counters()
    chosen = open_store(store) if isinstance(store, str) else store
    reached = StoreWithOutages(MemoryStore() if chosen is None else chosen)
    with tempfile.TemporaryDirectory(prefix="memrepo-") as folder:
        settings = WorkerSettings(cache_dir=Path(folder), limits=limits)
        with open_service(settings, counters, store=reached, clock=clock, retry=_RETRY) as service:
            worker = InlineWorker(service, reached, limits=limits, clock=clock, counters=counters)
            try:
                yield worker
            finally:
                worker.end()
