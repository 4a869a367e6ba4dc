"""One thin Celery task per operation. The work is done before its body runs: the body only returns the outcome.

The mailbox settles requests in groups; each request's outcome then goes through Celery's own tracer as a task
of its own, so that state, result, events and signals are what Celery users know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from pydantic import JsonValue

from memrepo.errors import MemoryRepoError
from memrepo.wire.operations import OPERATIONS, Operation

STRATEGY = "memrepo_worker.queues.consumer.intake:strategy"
"""How the consumer treats messages of our tasks: it parks them in the mailbox."""


def register_tasks(app: Celery) -> None:
    """Register the task of every operation."""
    for operation in OPERATIONS.values():
        app.task(
            _body(operation),
            name=operation.task_name,
            shared=False,  # else every other Celery app of this process would have it, too
            Strategy=STRATEGY,
            throws=(MemoryRepoError,),
            acks_late=True,
            typing=False,
            resultrepr_maxsize=0,
        )


def _body(operation: Operation[Any, Any]) -> Callable[[JsonValue | MemoryRepoError], JsonValue]:
    def record_result(result: JsonValue | MemoryRepoError) -> JsonValue:
        if isinstance(result, MemoryRepoError):
            raise result
        return result

    record_result.__name__ = operation.name
    record_result.__doc__ = operation.request.__doc__
    return record_result
