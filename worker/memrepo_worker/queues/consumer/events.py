"""What Celery's monitors (Flower, ``celery events``) are told of requests.

Celery's dispatcher belongs to one connection to the broker: while that is being made anew there is none, and what the
old one had not sent yet is forgotten with it. Here it waits.

Celery also publishes in whichever thread has the 24th event, and after each round of its loop, under a lock: the thread
that takes messages in stood at that lock for half of its time, so nothing was there to share a journal entry. Here a
thread only puts its event into a line, and Celery's loop publishes what has come together, some times a second.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from celery.events import EventDispatcher

from memrepo.clock import Clock, steady_clock, system_clock

FLUSH_AFTER_S = 0.08
"""How late an event is, so that others go with it: with what a busy loop adds, no more than a tenth of a second."""

WAITING_MAX = 10_000
"""Events kept while there is no connection; of more, the oldest are forgotten."""

_ASK_AGAIN_S = 1.0
"""After so long a flush that was asked for is taken for lost: a loop that is made anew forgets what it was to do."""


class HasDispatcher(Protocol):
    """What is needed of Celery's consumer; None while it has no connection."""

    event_dispatcher: EventDispatcher | None


class TaskEvents:
    """Sends the events of requests, in order. Thread-safe; never raises, never waits for the broker."""

    def __init__(
        self,
        consumer: HasDispatcher,
        later: Callable[[float, Callable[[], None]], object],
        clock: Clock = steady_clock,
    ) -> None:
        """``later`` has something done after so many seconds, in the thread that publishes; from any thread."""
        self._consumer = consumer
        self._later = later
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=WAITING_MAX)
        self._dispatcher: EventDispatcher | None = None
        self._asked_s = -math.inf
        """When a flush was asked for that has not begun."""

    def send(self, type: str, task_id: str, **fields: Any) -> None:  # noqa: A002 - celery's signature
        """Send an event soon, together with others, or when there is a connection again."""
        self._waiting.append((type, {"uuid": task_id, "timestamp": system_clock(), **fields}))
        now_s = self._clock()
        if now_s - self._asked_s > _ASK_AGAIN_S:  # two threads may see that at once: then there are two
            self._asked_s = now_s
            self._later(FLUSH_AFTER_S, self._flush)

    def resume(self) -> None:
        """Send what waited, over the connection that was made just now."""
        before, self._dispatcher = self._dispatcher, self._consumer.event_dispatcher
        now = self._dispatcher
        if now is None or before is now:
            return
        unsent = [] if before is None else list(before._group_buffer["task"])
        if unsent:
            now._outbound_buffer.append((unsent, "task.multi"))
        self._flush()

    def flush(self, timeout_s: float) -> None:
        """Send what waits; at the end of a worker nobody else does.

        A broker that does not answer is waited for no longer than that.
        """
        sending = threading.Thread(target=self._flush, name="memrepo-events", daemon=True)
        sending.start()
        sending.join(timeout_s)

    def _flush(self) -> None:
        self._asked_s = -math.inf  # before the line is read: who comes later asks again
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None:
            self._hand_over(dispatcher)
            dispatcher.flush()

    def _hand_over(self, dispatcher: EventDispatcher) -> None:
        """Give Celery's dispatcher what waits, without its publishing some of it at once."""
        with self._lock:
            as_it_was = dispatcher.buffer_limit, dispatcher.on_send_buffered
            dispatcher.buffer_limit, dispatcher.on_send_buffered = math.inf, None
            try:
                while self._waiting:
                    type_, fields = self._waiting.popleft()
                    if dispatcher.enabled:
                        dispatcher.send(type_, **fields)
            finally:
                dispatcher.buffer_limit, dispatcher.on_send_buffered = as_it_was
