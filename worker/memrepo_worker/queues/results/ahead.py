"""Results that are sent to Redis before their turn is over, and whose storing is waited for at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memrepo_worker.queues.results.records import StoredResult
from memrepo_worker.queues.script_call import ScriptCall


@dataclass(frozen=True, slots=True)
class ResultsAhead:
    """The results of a whole group, on their way with the acknowledgement of its messages.

    Sending them again changes nothing: the first result of a job stays, and a message is acknowledged once.
    """

    task_ids: Sequence[str]
    results: Sequence[StoredResult]
    call: ScriptCall

    def is_of(self, task_ids: Sequence[str]) -> bool:
        """Whether they are the results of just these jobs, in this order."""
        return list(task_ids) == list(self.task_ids)
