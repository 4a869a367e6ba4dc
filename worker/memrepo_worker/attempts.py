"""How often a group is tried: for ever while the store is unavailable, on a fault a few times, then one by one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 - the type alone: the generator itself is passed in

from memrepo.errors import MemoryRepoError
from memrepo.requests import Request
from memrepo_worker.group import Agent, Group, GroupHandler, Lease, Outcome
from memrepo_worker.logs import cause_of
from memrepo_worker.observe import Observer
from memrepo_worker.store.seam import RefusedError, UnavailableError

logger = logging.getLogger(__name__)

Requests = tuple[Request, ...]


class StoppedError(Exception):
    """The process is ending: the requests are neither done nor failed, and belong back in their queue."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries: doubled each time, up to a limit, and shortened by up to half by chance."""

    first_s: float = 0.05
    limit_s: float = 5.0

    def wait_s(self, tries: int, random: Random) -> float:
        """Return how long to wait after the given number of failed tries."""
        full = min(self.limit_s, self.first_s * 2.0 ** min(tries - 1, 30))
        return full * random.uniform(0.5, 1.0)


@dataclass
class Attempts:
    """Calls the handler until every request has an outcome.

    ``lease_of`` is asked before each try, so that a try never runs on an old tenure's lease.
    """

    lease_of: Callable[[Agent], Lease]
    random: Random
    observer: Observer
    backoff: Backoff = field(default_factory=Backoff)
    tries_max: int = 3
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End all waiting: ``settle`` raises ``StoppedError`` where it would wait or try again."""
        self._stopped.set()

    def settle(
        self, handler: GroupHandler, agent: Agent, requests: Requests, on_retry: Callable[[], None]
    ) -> Sequence[Outcome]:
        """Return the outcome of each request, in order.

        A fault that is not the store's is tried ``tries_max`` times; then each request is tried alone, in
        order, and one that still fails gets a verdict that names its id, so that it does not block its agent.

        Raises:
            StoppedError: the process is ending.
        """
        outcomes = self._try(handler, agent, requests, on_retry)
        if outcomes is not None:
            return outcomes
        if len(requests) == 1:
            return [_gave_up(requests[0])]
        self.observer.count("mailbox.groups.split")
        return [
            outcome for request in requests for outcome in self.settle(handler, agent, (request,), on_retry)
        ]

    def _try(
        self, handler: GroupHandler, agent: Agent, requests: Requests, on_retry: Callable[[], None]
    ) -> Sequence[Outcome] | None:
        """Return the outcomes, or None after the last try allowed."""
        faults = unavailable = 0
        while True:
            try:
                return self._call(handler, agent, requests)
            except (UnavailableError, RefusedError) as error:
                unavailable += 1
                on_retry()
                self._note("mailbox.store.unavailable", error, agent, requests)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the agent's queue
                faults += 1
                self._note("mailbox.faults", error, agent, requests)
                if faults >= self.tries_max:
                    return None
            self._wait(faults + unavailable)

    def _call(self, handler: GroupHandler, agent: Agent, requests: Requests) -> Sequence[Outcome]:
        outcomes = handler(Group(agent, requests, self.lease_of(agent)))
        if len(outcomes) != len(requests):
            raise ValueError(f"{len(outcomes)} outcomes for {len(requests)} requests")
        return outcomes

    def _wait(self, tries: int) -> None:
        if self._stopped.wait(self.backoff.wait_s(tries, self.random)):
            raise StoppedError

    def _note(self, event: str, error: Exception, agent: Agent, requests: Requests) -> None:
        self.observer.count(event)
        ids = ", ".join(request.request_id for request in requests[:3])
        logger.warning("%s: %s, %d requests (%s): %s", event, agent, len(requests), ids, cause_of(error))


def _gave_up(request: Request) -> MemoryRepoError:
    return MemoryRepoError(
        f"request {request.request_id} failed inside the worker, again and again; its log says where",
        {"request_id": request.request_id},
    )
