"""The jobs that a client waits for, and which of them are to be looked up next: what that costs is bounded by time.

All take turns, so many at each poll interval; what another client sent, of which no reply comes, and what somebody has
just asked for, at each tick.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any

from memrepo.clock import Clock, steady_clock
from memrepo.jobs.pending import Pending
from memrepo.wire.record import UNDER_WAY

TICK_S = 0.1  # how soon a job that another process sent is looked at
LOOKUP_MAX = 500  # keys asked for at once, and in a poll interval

_Turns = OrderedDict[str, Pending[Any]]


class Watched:
    """Jobs by their task id, each with its turn. Thread-safe. No call goes through more than ``LOOKUP_MAX`` of them."""

    def __init__(
        self,
        poll_interval_s: float,
        clock: Clock = steady_clock,
        on_removed: Callable[[Pending[Any]], None] = lambda _: None,
    ) -> None:
        """``on_removed`` is called for each job that is watched no longer."""
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._on_removed = on_removed
        self._lock = threading.Lock()
        self._own: _Turns = OrderedDict()  # the front is what was looked up longest ago
        self._foreign: _Turns = OrderedDict()
        self._asked_for: dict[Pending[Any], None] = {}
        self._tick_at_s = self._poll_at_s = float("-inf")
        self._behind = 0  # how many are to be looked up without a pause
        self.some_wait_long = False
        """Whether one of those that had their turn last has not ended after more than a poll interval."""

    def add(self, pending: Pending[Any]) -> None:
        """Watch a job from now on; one that was sent before under the same id no longer."""
        with self._lock:
            self._turns_of(pending)[pending.task_id] = pending

    def get(self, task_id: str) -> Pending[Any] | None:
        """Return the job of a task, if it is watched."""
        with self._lock:
            return self._own.get(task_id) or self._foreign.get(task_id)

    def remove(self, pending: Pending[Any]) -> None:
        """Watch a job no longer."""
        with self._lock:
            turns = self._turns_of(pending)
            if turns.get(pending.task_id) is pending:
                del turns[pending.task_id]
        self._on_removed(pending)

    def unended(self) -> list[Pending[Any]]:
        """Return the jobs that this client sent and that have not ended."""
        with self._lock:
            return [one for one in self._own.values() if not one.future.done()]

    def clear(self) -> list[Pending[Any]]:
        """Watch nothing more; return what was."""
        with self._lock:
            left = [*self._own.values(), *self._foreign.values()]
            self._own.clear()
            self._foreign.clear()
        return left

    def ask(self, pending: Pending[Any]) -> None:
        """Have a job that is watched looked up at the next tick."""
        with self._lock:
            # Only what is watched: nobody would ever let go of the rest.
            if self._turns_of(pending).get(pending.task_id) is pending:
                self._asked_for[pending] = None

    def hurry(self) -> None:
        """Have all looked up as soon as can be: replies may have got lost."""
        with self._lock:
            self._behind = len(self._own)
            self._tick_at_s = self._poll_at_s = float("-inf")

    @property
    def wait_s(self) -> float:
        """How long until the next are due (s)."""
        return 0.0 if self._behind else max(0.0, self._tick_at_s - self._clock())

    def is_poll_due(self) -> bool:
        """Return whether a poll interval is over since this was last true."""
        now = self._clock()
        if now < self._poll_at_s:
            return False
        self._poll_at_s = now + self._poll_interval_s
        return True

    def due(self, *, poll: bool) -> list[Pending[Any]]:
        """Return what is to be looked up now, at most ``2 * LOOKUP_MAX``; ``poll`` says that an interval is over."""
        now = self._clock()
        if not poll and not self._behind and now < self._tick_at_s:
            return []
        self._tick_at_s = now + TICK_S
        with self._lock:
            asked = self._take_asked()
            foreign = _next_turns(self._foreign, LOOKUP_MAX - len(asked))
            own = _next_turns(self._own, LOOKUP_MAX) if poll or self._behind else []
            self._behind = max(0, self._behind - len(own))
        if own or poll:
            before_s = now - self._poll_interval_s
            self.some_wait_long = any(one.status in UNDER_WAY and one.known_since_s < before_s for one in own)
        due = dict.fromkeys([*asked, *foreign, *own])
        ended = [one for one in due if one.future.done()]  # otherwise than by a record
        for one in ended:
            self.remove(one)
            del due[one]
        return list(due)

    def _take_asked(self) -> list[Pending[Any]]:
        asked = list(islice(self._asked_for, LOOKUP_MAX))
        for one in asked:
            del self._asked_for[one]
        return asked

    def _turns_of(self, pending: Pending[Any]) -> _Turns:
        return self._foreign if pending.foreign else self._own


def _next_turns(turns: _Turns, count: int) -> list[Pending[Any]]:
    """Return the first ones, which are the last ones then."""
    some = list(islice(turns.values(), max(0, count)))
    for one in some:
        turns.move_to_end(one.task_id)
    return some
