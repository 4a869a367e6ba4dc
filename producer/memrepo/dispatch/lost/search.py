"""A look for requests in a queue, in slices: none keeps the broker from others for long, however deep the queue is."""

from __future__ import annotations

from collections.abc import Iterable

from memrepo.redis.script import Script, ScriptRunner, lua
from memrepo.wire.keys import unacked_key

MESSAGES_MAX = 500  # in a slice
BYTES_MAX = 512 << 10  # likewise; one message more than that is looked at whole
IDS_MAX = 1000  # looked for at once

_FIND_WAITING = Script(lua(__package__, "find_waiting"))
_FIND_TAKEN = Script(lua(__package__, "find_taken"))


class Search:
    """Looks through one queue, and then through what a worker has taken of it.

    In this order, which is a message's way: what is taken meanwhile is met there, or has ended. Only what a take-over
    puts back meanwhile may be missed; to send that again does no harm.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.begun = False
        self.missing: dict[str, None] = {}
        """The tasks that were not found yet; once it is over, those that are not there."""
        self._seen, self._last = 0, ""
        self._taken: str | None = (
            None  # the number of the last one seen of those that are taken; None before them
        )

    def add(self, task_ids: Iterable[str]) -> None:
        """Look for these, too; before it has begun."""
        for task_id in task_ids:
            if len(self.missing) < IDS_MAX:
                self.missing[task_id] = None

    def step(self, broker: ScriptRunner) -> bool:
        """Look through one slice, in one call; return whether it is over.

        Raises:
            redis.RedisError: the broker does not answer.
        """
        self.begun = True
        return self._step_waiting(broker) if self._taken is None else self._step_taken(broker, self._taken)

    def _step_waiting(self, broker: ScriptRunner) -> bool:
        cursor = (MESSAGES_MAX, BYTES_MAX, self._seen, self._last)
        keys = [self.queue, unacked_key(self.queue)]
        seen, last, taken, *found = _FIND_WAITING.run(broker, keys, [*cursor, *self.missing])
        self._forget(found)
        self._seen, self._last = seen, last.decode()
        if seen >= 0:
            return not self.missing
        self._taken = "0"
        return not taken or not self.missing

    def _step_taken(self, broker: ScriptRunner, taken: str) -> bool:
        keys, cursor = [unacked_key(self.queue)], (MESSAGES_MAX, BYTES_MAX, taken)
        last, *found = _FIND_TAKEN.run(broker, keys, [*cursor, *self.missing])
        self._forget(found)
        self._taken = last.decode()
        return self._taken == "-1" or not self.missing

    def _forget(self, found: Iterable[bytes]) -> None:
        for task_id in found:
            self.missing.pop(task_id.decode(), None)
