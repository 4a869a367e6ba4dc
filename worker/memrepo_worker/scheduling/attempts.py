"""How often a group is tried: for ever while the store is unavailable, on a fault a few times, then one by one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from random import Random

from memrepo.clock import Backoff
from memrepo.errors import MemoryRepoError
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, Group, GroupHandler, Lease, Outcome
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer, store_wait
from memrepo_worker.store.interface import RefusedError, UnavailableError
from memrepo_worker.trouble import StoreTrouble, WaitReason

logger = logging.getLogger(__name__)

Requests = tuple[Request, ...]
OnRetry = Callable[[WaitReason], None]
"""Is told, before each pause, what the requests wait for."""

_IDS_TOLD_MAX = 10
BACKOFF = Backoff(first_s=0.05, max_s=5.0, jitter=0.5)


class StoppedError(Exception):
    """The process is ending: the requests are neither done nor failed, and belong back in their queue."""


@dataclass
class Attempts:
    """Calls the handler until every request has an outcome.

    ``lease_of`` is asked before each try, so that a try never runs on an old lease. ``worker`` is the name
    of the worker whose log says more of a fault.
    """

    lease_of: Callable[[Agent], Lease]
    random: Random
    observer: Observer
    backoff: Backoff = BACKOFF
    tries_max: int = 3
    worker: str = "the worker"
    trouble: StoreTrouble = field(default_factory=lambda: StoreTrouble(logger))
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End all waiting: ``settle`` raises ``StoppedError`` where it would wait or try again."""
        self._stopped.set()

    def settle(
        self, handler: GroupHandler, agent: Agent, requests: Requests, on_retry: OnRetry
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
            return [self._gave_up(agent, requests[0])]
        self.observer.count("mailbox.groups.split")
        return [
            outcome for request in requests for outcome in self.settle(handler, agent, (request,), on_retry)
        ]

    def _try(
        self, handler: GroupHandler, agent: Agent, requests: Requests, on_retry: OnRetry
    ) -> Sequence[Outcome] | None:
        """Return the outcomes, or None after the last try allowed."""
        faults = unavailable = 0
        answered = False
        try:
            while True:
                try:
                    outcomes = self._call(handler, agent, requests)
                    answered = True
                    return outcomes
                except (UnavailableError, RefusedError) as error:
                    unavailable += 1
                    failed_by_store = True
                    pause_s = self.backoff.pause_s(faults + unavailable, self.random)
                    self.observer.count("mailbox.store.unavailable")
                    on_retry(self.trouble.met(agent, len(requests), error, pause_s))
                except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the agent's queue
                    faults += 1
                    failed_by_store = False
                    self._note_fault(error, agent, requests, faults)
                    if faults >= self.tries_max:
                        return None
                    pause_s = self.backoff.pause_s(faults + unavailable, self.random)
                self._pause(pause_s, for_store=failed_by_store)
        finally:
            self.trouble.over(agent, answered=answered)

    def _pause(self, pause_s: float, *, for_store: bool) -> None:
        with store_wait() if for_store else nullcontext():
            if self._stopped.wait(pause_s):
                raise StoppedError

    def _call(self, handler: GroupHandler, agent: Agent, requests: Requests) -> Sequence[Outcome]:
        outcomes = handler(Group(agent, requests, self.lease_of(agent)))
        if len(outcomes) != len(requests):
            raise ValueError(f"{len(outcomes)} outcomes for {len(requests)} requests")
        return outcomes

    def _note_fault(self, error: Exception, agent: Agent, requests: Requests, faults: int) -> None:
        self.observer.count("mailbox.faults")
        ids = [request.request_id for request in requests[:_IDS_TOLD_MAX]]
        more = f" and {len(requests) - len(ids)} more" if len(requests) > len(ids) else ""
        message = f"try {faults} of {self.tries_max} failed for {agent}: {', '.join(ids)}{more}"
        fields = {"agent": str(agent), "request_ids": ids, "requests": len(requests), "tries": faults}
        log(logger, logging.WARNING, "request.fault", message, fields, error)

    def _gave_up(self, agent: Agent, request: Request) -> MemoryRepoError:
        """Return the verdict on a request that no try could execute; the id in it is what the log is searched for."""
        request_id = request.request_id
        fields = {"agent": str(agent), "request_ids": [request_id], "requests": 1}
        log(logger, logging.ERROR, "request.given_up", f"gave up on {request_id} of {agent}", fields)
        return MemoryRepoError(
            f"request {request_id} failed inside the worker, {self.tries_max} times; look for {request_id} in the log "
            f"of {self.worker}",
            {"request_id": request_id, "worker": self.worker},
        )
