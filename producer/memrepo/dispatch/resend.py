"""Requests that the broker lost: noticed, looked for, and sent again under the same id.

A broker that crashes may lose what it took last. A job that no worker has marked as started within
``resend_after_s`` is looked for in its queue and among the messages that a worker has taken; what is in neither and
has no record is sent again, at most three times. That is safe even when the look was wrong: a worker answers a
request that it has settled from the ledger.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
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

_FIND = Script(lua(__package__, "find"))

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tracked:
    """A request that may have to be sent again. Times are on the steady clock."""

    message: Message
    pending: Pending[Any]
    sent_at_s: float
    look_at_s: float
    pause_s: float
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
        self._tracked: dict[Pending[Any], _Tracked] = {}  # by attempt: one id may be sent by several

    def track(self, message: Message, pending: Pending[Any]) -> None:
        """Watch over a request until its job has ended."""
        pause_s = self._settings.resend_after_s
        if pause_s:
            now = self._clock()
            with self._lock:
                self._tracked[pending] = _Tracked(message, pending, now, now + pause_s, pause_s)

    def check(self) -> None:
        """Have overdue requests looked for; called now and then, never waits."""
        overdue = self._overdue(self._clock())
        if overdue:
            with suppress(MemoryRepoError):  # the client was closed meanwhile
                self._publisher.send(lambda _app, producer: self._look_for(producer, overdue))

    def _overdue(self, now: float) -> list[_Tracked]:
        with self._lock:
            self._tracked = {key: one for key, one in self._tracked.items() if not one.pending.future.done()}
            overdue = [
                one
                for one in self._tracked.values()
                if one.look_at_s <= now and one.pending.status == "queued"
            ]
        for one in overdue:
            one.pause_s *= 2  # a deep queue is not looked through again and again
            one.look_at_s = now + one.pause_s
        return overdue

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
