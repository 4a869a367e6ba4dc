"""Messages that are refused: their jobs fail and they are removed, many at a time, in a thread of their own.

The consumer's thread only says which: whoever reaches the broker may send a thousand a second, and a result store that
takes nothing is waited for here, where no other shard waits too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from celery import states

from memrepo.clock import Clock, steady_clock
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo_worker.logs import log
from memrepo_worker.observe import Observer
from memrepo_worker.queues.consumer.events import TaskEvents
from memrepo_worker.queues.consumer.responder import Responder
from memrepo_worker.queues.consumer.task_request import TaskRequest
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.backend import ResultBackend
from memrepo_worker.queues.transport.messages import Messages, Refused
from memrepo_worker.threads.beginning import begin_thread

logger = logging.getLogger(__name__)

BATCH_MAX = 256
WAITING_MAX = 1_024
"""Of so many that wait no further messages are taken; each weighs less than a kilobyte."""
LINES_MAX, LINES_S = 20, 10.0
"""So many lines of the log in so many seconds; the others are counted."""

NO_REQUEST = InvalidRequestError.of("message", "is not one of this worker's requests")

_Invalid = tuple[TaskRequest, MemoryRepoError]


class Refusals:
    """Fails the jobs of refused messages and removes the messages. Thread-safe; nothing waits but its own thread.

    A message stays noted as delivered until it is removed, so that no reconnect delivers it again; what is left of a
    shard that goes is refused by its next owner. Where broker and results are one database (``together``),
    a batch is one step. ``on_room`` is called when it was full and is not any more.
    """

    def __init__(
        self,
        backend: ResultBackend,
        messages: Messages,
        responder: Responder,
        events: TaskEvents,
        observer: Observer,
        *,
        together: bool,
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        self._backend = backend
        self._messages = messages
        self._together = together
        self._responder = responder
        self._events = events
        self._observer = observer
        self._on_room = on_room
        self._lines = _Lines()
        self._lock = threading.Lock()
        self._waiting: deque[Refused | _Invalid] = deque()
        self._works = False

    @property
    def full(self) -> bool:
        """Whether so many wait that no more should be taken in."""
        return len(self._waiting) >= WAITING_MAX

    def refuse(self, refused: Refused) -> None:
        """Have a message removed that is no request, and its job failed if it names one."""
        self._lines.tell(refused.shape)
        self._put(refused)

    def refuse_request(self, task_request: TaskRequest, error: MemoryRepoError) -> None:
        """Have a request failed that is not a valid one."""
        self._put((task_request, error))

    def _put(self, one: Refused | _Invalid) -> None:
        self._observer.count("intake.refused")
        with self._lock:
            self._waiting.append(one)
            if not self._works:
                self._works = begin_thread("memrepo-refusals", self._work) is not None

    def _work(self) -> None:
        """Refuse what waits, until nothing does."""
        while True:
            with self._lock:
                batch = list(islice(self._waiting, BATCH_MAX))
                if not batch:
                    self._works = False
                    return
            self._settle(batch)
            with self._lock:
                was_full = self.full
                for _ in batch:
                    self._waiting.popleft()
                has_room = was_full and not self.full
            if has_room:
                self._on_room()

    def _settle(self, batch: Sequence[Refused | _Invalid]) -> None:
        try:
            self._remove([one for one in batch if isinstance(one, Refused)])
            self._fail([one for one in batch if not isinstance(one, Refused)])
        except Exception as error:  # noqa: BLE001 - whatever a forged message does, the others go on
            if len(batch) > 1:
                for one in batch:  # each was refused already, or is now: the first result stays
                    self._settle([one])
            else:
                self._observer.count("intake.refusals.failed")
                log(logger, logging.ERROR, "refusal.fault", "a job could not be failed", {}, error)
                self._remove_untold(batch[0])

    def _remove_untold(self, one: Refused | _Invalid) -> None:
        """Remove a message whose job a fault of ours keeps from being failed: its shard goes on, whatever it is."""
        if isinstance(one, Refused):
            owned_shard, number = one.owned_shard, one.number
        else:
            owned_shard, number = one[0].owned_shard, one[0].number
        if owned_shard is None:
            return
        try:
            self._backend.ensure_acknowledged(self._messages, owned_shard, {number: ""})
        except Exception as error:  # noqa: BLE001 - it stays unacknowledged; the others go on
            log(logger, logging.ERROR, "refusal.fault", "a message could not be removed", {}, error)
        else:
            owned_shard.delivered.discard(number)

    def _fail(self, invalid: Sequence[_Invalid]) -> None:
        if invalid:
            self._responder.refuse(invalid)

    def _remove(self, refused: Sequence[Refused]) -> None:
        if self._together:
            of_shards = [(one.owned_shard, one) for one in refused if one.owned_shard is not None]
            self._tell(self._backend.refuse(of_shards, NO_REQUEST) if of_shards else [], of_shards)
            others = [one for one in refused if one.owned_shard is None]
        else:
            others = list(refused)
        if others:
            states_before = self._backend.fail(others, NO_REQUEST)
            if not self._together:
                self._acknowledge(others)
            self._tell(states_before, [(one.owned_shard, one) for one in others])

    def _acknowledge(self, refused: Sequence[Refused]) -> None:
        numbers: dict[OwnedShard, dict[str, str]] = {}
        for one in refused:
            if one.owned_shard is not None:
                numbers.setdefault(one.owned_shard, {})[one.number] = ""
        for owned_shard, some in numbers.items():
            self._backend.ensure_acknowledged(self._messages, owned_shard, some)

    def _tell(self, before: Sequence[str], refused: Sequence[tuple[OwnedShard | None, Refused]]) -> None:
        """Note what is removed, and tell monitors of jobs that have failed just now."""
        for state, (owned_shard, one) in zip(before, refused, strict=True):
            if owned_shard is not None:
                owned_shard.delivered.discard(one.number)
            if one.task_id and state != "LOST" and state not in states.READY_STATES:
                summary = f"{one.size_bytes} bytes"
                self._events.send(
                    "task-received", one.task_id, name=one.task_name, args="()", kwargs=summary, retries=0
                )
                self._events.send("task-started", one.task_id)
                self._events.send(
                    "task-failed", one.task_id, exception=repr(NO_REQUEST), traceback="", runtime=0.0
                )


class _Lines:
    """Lines of the log of refused messages, a bounded number; used by the consumer's thread alone."""

    def __init__(self, clock: Clock = steady_clock) -> None:
        self._clock = clock
        self._began_s = float("-inf")
        self._told = self._untold = 0

    def tell(self, shape: str) -> None:
        now_s = self._clock()
        if now_s - self._began_s >= LINES_S:
            if self._untold:
                logger.warning("refused %d more messages that are no requests", self._untold)
            self._began_s, self._told, self._untold = now_s, 0, 0
        if self._told < LINES_MAX:
            self._told += 1
            logger.warning("refused a message that is no request: %s", shape)
        else:
            self._untold += 1
