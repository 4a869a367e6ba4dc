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
from weakref import ref

from memrepo.clock import Clock, steady_clock
from memrepo.jobs.pending import Pending
from memrepo.wire.record import UNDER_WAY

TICK_S = 0.1  # how soon a job that another process sent is looked at
LOOKUP_MAX = 500  # keys asked for at once, and in a poll interval
UNHELD_S = (
    60.0  # how long a job of another client is watched that nobody holds, after somebody has asked for it
)

_Turns = OrderedDict[str, Pending[Any]]


class _Foreign:
    """The jobs of other clients. Not thread-safe.

    Of most there is a record, which ends them; of an id that was never sent, or whose result has expired, there is
    none. So one is watched for as long as somebody holds it (the job, or a wait for it, or its future), and a while
    longer: who asks for an id now and then finds what was looked up since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turns: OrderedDict[str, ref[Pending[Any]]] = OrderedDict()
        self._asked_at_s: OrderedDict[Pending[Any], float] = OrderedDict()  # who asked last comes last

    def add(self, pending: Pending[Any]) -> None:
        """Watch a job."""
        self._turns[pending.task_id] = ref(pending)
        self.note_asked(pending)

    def get(self, task_id: str) -> Pending[Any] | None:
        """Return the job of a task, if it is watched."""
        found = self._turns.get(task_id)
        return None if found is None else found()

    def note_asked(self, pending: Pending[Any]) -> None:
        """Note that somebody asks for a watched job."""
        self._asked_at_s[pending] = self._clock()
        self._asked_at_s.move_to_end(pending)

    def remove(self, pending: Pending[Any]) -> None:
        """Watch a job no longer."""
        if self.get(pending.task_id) is pending:
            del self._turns[pending.task_id]
        self._asked_at_s.pop(pending, None)

    def clear(self) -> list[Pending[Any]]:
        """Watch nothing more; return what was."""
        left = [one for found in self._turns.values() if (one := found()) is not None]
        self._turns.clear()
        self._asked_at_s.clear()
        return left

    def next(self, count: int) -> list[Pending[Any]]:
        """Return those whose turn it is, so many at most, and have no more to do with those that nobody holds."""
        unheld_s = self._clock() - UNHELD_S
        while self._asked_at_s and next(iter(self._asked_at_s.values())) <= unheld_s:
            self._asked_at_s.popitem(last=False)
        some = []
        for task_id, found in list(islice(self._turns.items(), max(0, count))):
            one = found()
            if one is None:
                del self._turns[task_id]
            else:
                self._turns.move_to_end(task_id)
                some.append(one)
        return some


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
        self._foreign = _Foreign(clock)
        self._asked_for: dict[Pending[Any], None] = {}
        self._tick_at_s = self._poll_at_s = float("-inf")
        self._behind = 0  # how many are to be looked up without a pause
        self.some_wait_long = False
        """Whether one of those that had their turn last has not ended after more than a poll interval."""

    def add(self, pending: Pending[Any]) -> None:
        """Watch a job from now on; one that was sent before under the same id no longer."""
        with self._lock:
            if pending.foreign:
                self._foreign.add(pending)
            else:
                self._own[pending.task_id] = pending

    def holds(self, pending: Pending[Any]) -> bool:
        """Return whether a job is watched, as somebody asks for it: one of another client is for longer then."""
        with self._lock:
            is_watched = self._is_watched(pending)
            if is_watched and pending.foreign:
                self._foreign.note_asked(pending)
            return is_watched

    def get(self, task_id: str) -> Pending[Any] | None:
        """Return the job of a task, if it is watched."""
        with self._lock:
            return self._own.get(task_id) or self._foreign.get(task_id)

    def remove(self, pending: Pending[Any]) -> None:
        """Watch a job no longer."""
        with self._lock:
            if pending.foreign:
                self._foreign.remove(pending)
            elif self._own.get(pending.task_id) is pending:
                del self._own[pending.task_id]
        self._on_removed(pending)

    def unended(self) -> list[Pending[Any]]:
        """Return the jobs that this client sent and that have not ended."""
        with self._lock:
            return [one for one in self._own.values() if not one.future.done()]

    def clear(self) -> list[Pending[Any]]:
        """Watch nothing more; return what was."""
        with self._lock:
            left = [*self._own.values(), *self._foreign.clear()]
            self._own.clear()
        return left

    def ask(self, pending: Pending[Any]) -> None:
        """Have a job that is watched looked up at the next tick."""
        with self._lock:
            # Only what is watched: nobody would ever let go of the rest.
            if self._is_watched(pending):
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
            foreign = self._foreign.next(LOOKUP_MAX - len(asked))
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

    def _is_watched(self, pending: Pending[Any]) -> bool:
        watched = self._foreign.get if pending.foreign else self._own.get
        return watched(pending.task_id) is pending


def _next_turns(turns: _Turns, count: int) -> list[Pending[Any]]:
    """Return the first ones, which are the last ones then."""
    some = list(islice(turns.values(), max(0, count)))
    for one in some:
        turns.move_to_end(one.task_id)
    return some
