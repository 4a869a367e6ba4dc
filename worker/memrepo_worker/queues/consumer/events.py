"""What Celery's monitors (Flower, ``celery events``) are told of requests.

Celery's dispatcher belongs to one connection to the broker: while that is being made anew there is none, and what the
old one had not sent yet is forgotten with it. Here it waits.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Protocol

from celery.events import EventDispatcher

from memrepo.clock import system_clock

WAITING_MAX = 10_000
"""Events kept while there is no connection; of more, the oldest are forgotten."""


class HasDispatcher(Protocol):
    """What is needed of Celery's consumer; None while it has no connection."""

    event_dispatcher: EventDispatcher | None


class TaskEvents:
    """Sends the events of requests, in order. Thread-safe; never raises, never waits for the broker."""

    def __init__(self, consumer: HasDispatcher) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=WAITING_MAX)
        self._dispatcher: EventDispatcher | None = None

    def send(self, type: str, task_id: str, **fields: Any) -> None:  # noqa: A002 - celery's signature
        """Send an event, now or when there is a connection again."""
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is None:
            self._waiting.append((type, {"uuid": task_id, "timestamp": system_clock(), **fields}))
        elif dispatcher.enabled:
            dispatcher.send(type, uuid=task_id, **fields)

    def resume(self) -> None:
        """Send what waited, over the connection that was made just now."""
        with self._lock:
            before, self._dispatcher = self._dispatcher, self._consumer.event_dispatcher
            now = self._dispatcher
            if now is None or before is now:
                return
            unsent = [] if before is None else list(before._group_buffer["task"])
            if unsent:
                now._outbound_buffer.append((unsent, "task.multi"))
            while self._waiting:
                type_, fields = self._waiting.popleft()
                if now.enabled:
                    now.send(type_, **fields)
            now.flush()

    def flush(self, timeout_s: float) -> None:
        """Send what is held back to be sent together; at the end of a worker nobody else does.

        A broker that does not answer is waited for no longer than that.
        """
        dispatcher = self._consumer.event_dispatcher
        if dispatcher is not None:
            sending = threading.Thread(target=dispatcher.flush, name="memrepo-events", daemon=True)
            sending.start()
            sending.join(timeout_s)
