"""Requests that the broker lost: noticed, looked for, and sent again under the same id.

A broker that crashes may lose what it took last. A job that no worker has marked as started within
``resend_after_s`` is looked for in its queue and among the messages that a worker has taken; what is in neither and
has no record is sent again, at most three times. That is safe even when the look was wrong: a worker answers a
request that it has settled from the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from memrepo.clock import Clock, steady_clock
from memrepo.dispatch.connection import Message
from memrepo.dispatch.publisher import Publisher
from memrepo.errors import MemoryRepoError
from memrepo.jobs.pending import Pending, expired
from memrepo.redis.script import Script, lua
from memrepo.settings import Settings
from memrepo.wire.keys import unacked_key

if TYPE_CHECKING:
    from kombu.messaging import Producer

RESENDS_MAX = 3
DUE_MAX = 1000  # requests whose time has come that are seen to at once

_FIND = Script(lua(__package__, "find"))

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
        clock: Clock = steady_clock,
    ) -> None:
        """``look`` reads a job's record now."""
        self._settings = settings
        self._publisher = publisher
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        # By pause, each in the order of ``look_at_s``; in it by attempt, as one id may be sent by several.
        self._tracked: dict[float, OrderedDict[Pending[Any], _Tracked]] = {}

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

    def _put(self, one: _Tracked) -> None:
        """Have a request looked at after its pause."""
        one.look_at_s = self._clock() + one.pause_s
        self._tracked.setdefault(one.pause_s, OrderedDict())[one.pending] = one

    def check(self) -> None:
        """Have overdue requests looked for; called now and then, never waits."""
        overdue = self._overdue(self._clock())
        if overdue:
            with suppress(MemoryRepoError):  # the client was closed meanwhile
                self._publisher.send(lambda _app, producer: self._look_for(producer, overdue))

    def _overdue(self, now: float) -> list[_Tracked]:
        """Return what is to be looked for, a bounded number of the requests whose time has come."""
        with self._lock:
            due = list(islice(self._take_due(now), DUE_MAX))
            overdue = [one for one in due if one.pending.status == "queued"]
            for one in overdue:
                one.pause_s *= 2  # a deep queue is not looked through again and again
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
            ids = {one.message.task_id for one in some}
            answer = _FIND.run(producer.channel.client, [queue, unacked_key(queue)], list(ids))
            found = {task_id.decode() for task_id in answer}
            for one in some:
                if one.message.task_id not in found:
                    self._settle_missing(one)

    def _settle_missing(self, one: _Tracked) -> None:
        self._look(one.pending)  # it may have been started, or ended, before we looked
        if one.pending.status != "queued":
            return
        if one.resends < RESENDS_MAX:
            one.resends += 1
            log.warning("request %s was lost by the broker: sent again", one.message.task_id)
            allowed_s = self._publisher.allowance_s(one.message.request.size_bytes)
            self._publisher.send(one.message.again(self._clock() + allowed_s))
        elif self._clock() - one.sent_at_s > self._settings.result_expires_s:
            one.pending.fail(expired(one.message.task_id, one.message.request.request_id))
