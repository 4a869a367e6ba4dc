"""Requests that the broker lost: noticed, looked for, and sent again under the same id.

A broker that crashes may lose what it took last. A job that has not ended within ``resend_after_s`` is looked for in
its queue and among the messages that a worker has taken; what is in neither and has no final record is sent again, at
most three times. (A record that says "started" is no proof that anybody has the message: it may be younger than what
was lost, or kept on another server.) That is safe even when the look was wrong: a worker answers a request that it has
settled from the ledger. Looks are bounded, in each call and in number, and nothing is looked for while nobody serves
its queue: it would not be served any sooner.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from memrepo.clock import Clock, steady_clock
from memrepo.dispatch.connection import Message
from memrepo.dispatch.lost.search import Search
from memrepo.dispatch.publisher import Publisher
from memrepo.errors import MemoryRepoError
from memrepo.jobs.pending import Pending, expired
from memrepo.redis.trouble import MAY_BE_ENQUEUED
from memrepo.settings import Settings
from memrepo.wire.record import UNDER_WAY

if TYPE_CHECKING:
    from kombu.messaging import Producer

PAUSE_GROWTH_MAX = 4
"""How far the pause between two looks for a request grows: what is lost late in a long wait is found so much later."""

RESENDS_MAX = 3
SLICES_MAX = 3  # of a queue that are looked through at each check
DUE_MAX = 1000  # requests whose time has come that are seen to at once

SENT_AGAIN = "sent again"
MAYBE_SENT_AGAIN = "sent again, but no answer says so"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tracked:
    """A request that may have to be sent again. Times are on the steady clock."""

    message: Message
    pending: Pending[Any]
    sent_at_s: float
    pause_s: float
    look_at_s: float = 0.0
    resends: int = 0


class Resends:
    """Watches over the requests of one client. Thread-safe. ``resend_after_s`` = 0 turns it off."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        look: Callable[[Pending[Any]], None],
        is_served: Callable[[str], bool | None],
        clock: Clock = steady_clock,
    ) -> None:
        """``look`` reads a job's record now; ``is_served`` tells whether a worker serves a queue, if that is known."""
        self._settings = settings
        self._publisher = publisher
        self._look = look
        self._is_served = is_served
        self._clock = clock
        self._lock = threading.Lock()
        # By pause, each in the order of ``look_at_s``; in it by attempt, as one id may be sent by several.
        self._tracked: dict[float, OrderedDict[Pending[Any], _Tracked]] = {}
        self._searches: deque[tuple[Search, dict[str, list[_Tracked]]]] = deque()  # the publisher's thread's

    def track(self, message: Message, pending: Pending[Any]) -> None:
        """Watch over a request until its job has ended."""
        pause_s = self._settings.resend_after_s
        if pause_s:
            with self._lock:
                self._put(_Tracked(message, pending, self._clock(), pause_s))

    def untrack(self, pending: Pending[Any]) -> None:
        """Watch over a request no longer."""
        with self._lock:
            for tracked in self._tracked.values():
                if tracked.pop(pending, None):
                    return

    def look_anew(self) -> None:
        """Have each request looked for after the first pause again: the server may have been another, or lost some."""
        with self._lock:
            before, self._tracked = self._tracked, {}
            for tracked in before.values():
                for one in tracked.values():
                    one.pause_s = self._settings.resend_after_s
                    self._put(one)

    def _put(self, one: _Tracked) -> None:
        """Have a request looked at after its pause."""
        one.look_at_s = self._clock() + one.pause_s
        self._tracked.setdefault(one.pause_s, OrderedDict())[one.pending] = one

    def check(self) -> None:
        """Have overdue requests looked for; called now and then, never waits."""
        overdue = self._overdue(self._clock())
        if overdue or self._searches:
            with suppress(MemoryRepoError):  # the client was closed meanwhile
                self._publisher.send(lambda _app, producer: self._look_for(producer, overdue))

    def _overdue(self, now: float) -> list[_Tracked]:
        """Return what is to be looked for, a bounded number of the requests whose time has come."""
        with self._lock:
            due = list(islice(self._take_due(now), DUE_MAX))
            overdue = [
                one for one in due if one.pending.status in UNDER_WAY and self._is_served(one.message.queue)
            ]
            for one in overdue:
                # A deep queue is not looked through again and again.
                one.pause_s = min(2 * one.pause_s, PAUSE_GROWTH_MAX * self._settings.resend_after_s)
            for one in due:
                if not one.pending.future.done():
                    self._put(one)
        return overdue

    def _take_due(self, now: float) -> Iterator[_Tracked]:
        for tracked in list(self._tracked.values()):
            while tracked and next(iter(tracked.values())).look_at_s <= now:
                yield tracked.popitem(last=False)[1]

    def _look_for(self, producer: Producer, overdue: Sequence[_Tracked]) -> None:
        """Find out which requests the broker holds no more; runs on the publisher's connection."""
        by_queue: dict[str, list[_Tracked]] = defaultdict(list)
        for one in overdue:
            by_queue[one.message.queue].append(one)
        for queue, some in by_queue.items():
            self._search(queue, some)
        for _ in range(SLICES_MAX):
            if not self._searches:
                return
            search, sought = self._searches.popleft()  # one that fails is begun anew, after a pause
            if not search.step(producer.channel.client):
                self._searches.appendleft((search, sought))
            else:
                for one in [one for task_id in search.missing for one in sought[task_id]]:
                    self._settle_missing(one)

    def _search(self, queue: str, some: Sequence[_Tracked]) -> None:
        """Have requests looked for with those of their queue that wait for that, or after them."""
        waiting = (each for each in self._searches if each[0].queue == queue and not each[0].begun)
        found = next(waiting, None)
        if found is None:
            found = (Search(queue), defaultdict(list))
            self._searches.append(found)
        search, sought = found
        search.add(one.message.task_id for one in some)
        for one in some:
            sought[one.message.task_id].append(one)

    def _settle_missing(self, one: _Tracked) -> None:
        if one.pending.future.done():
            return
        self._look(one.pending)  # it may have ended before we looked
        if one.pending.status not in UNDER_WAY:
            return
        if one.resends < RESENDS_MAX:
            allowed_s = self._publisher.allowance_s(one.message.size_bytes)
            again = one.message.again(self._clock() + allowed_s)
            again.sent.add_done_callback(partial(_count, one))
            self._publisher.send(again)
        elif self._clock() - one.sent_at_s > self._settings.result_expires_s:
            one.pending.fail(expired(one.message.task_id, one.message.request.request_id))


def _count(one: _Tracked, sent: Future[None]) -> None:
    """Count a request that was sent again; one that the broker has not taken is looked for, and sent, once more."""
    error = None if sent.cancelled() else sent.exception()
    if isinstance(error, MemoryRepoError) and not error.details.get(MAY_BE_ENQUEUED):
        return
    one.resends += 1
    how = SENT_AGAIN if error is None and not sent.cancelled() else MAYBE_SENT_AGAIN
    log.warning("request %s was lost by the broker: %s", one.message.task_id, how)
