"""Results that are sent to Redis before their turn is over, and whose storing is waited for at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis import RedisError

from memrepo_worker.queues.script_call import ScriptCall


@dataclass(frozen=True, slots=True)
class ResultsAhead:
    """The results of a whole group, on their way with the acknowledgement of its messages.

    Sending them again changes nothing: the first result of a job stays, and a message is acknowledged once.
    """

    task_ids: Sequence[str]
    call: ScriptCall
    again: Callable[[], bool]
    """Sends them anew, and returns what ``end`` does."""

    def is_of(self, task_ids: Sequence[str]) -> bool:
        """Whether they are the results of just these jobs, in this order."""
        return list(task_ids) == list(self.task_ids)

    def end(self) -> bool:
        """Return what ``ResultBackend.finish`` does, from the answer to what was sent; done anew if that is lost."""
        try:
            return bool(self.call.answer())
        except (RedisError, OSError):
            return self.again()
