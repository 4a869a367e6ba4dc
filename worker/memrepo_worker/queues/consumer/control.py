"""Remote-control commands: what ``celery inspect`` adds to Celery's own, and ``revoke`` as memrepo means it.

Celery's own ``revoke`` runs in every worker: each remembers the id for as long as it lives, and marks the task as
revoked over whatever its owner has written meanwhile. Here all of them, and Flower's buttons, are a cancel: the job's
record decides (see ``memrepo.wire.cancellation``), whoever asks and how often. What was started goes on to its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from celery import Celery
from celery.worker import state as worker_state
from celery.worker.control import control_command, inspect_command
from redis import RedisError

from memrepo.redis.errors import meaning_of
from memrepo_worker.queues.consumer.consumer import MemrepoConsumer
from memrepo_worker.queues.results.backend import ResultBackend


class Panel(Protocol):
    """What Celery passes to a command: the worker's parts."""

    app: Celery
    consumer: MemrepoConsumer


@inspect_command()
def memrepo_counters(state: Panel) -> dict[str, int]:
    """Return what this worker has counted since it started, e.g. ``store.put.requests``."""
    return dict(state.consumer.intake.counters.snapshot())


@control_command(variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: Panel, task_id: str | Sequence[str], **_: object) -> dict[str, str]:
    """Cancel tasks by id, unless they were started; to terminate one is the same."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
    try:
        return {"ok": ", ".join(f"{one} {_cancel(state.app.backend, one)}" for one in ids)}
    except (RedisError, OSError, ValueError) as error:
        return {"error": f"not known to be cancelled: the result store: {meaning_of(error).reason}"}


@control_command(variadic="task_id", args=[("signal", str)], signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Panel, signal: str, task_id: str | Sequence[str], **_: object) -> dict[str, str]:  # noqa: ARG001 - Celery passes it
    """Cancel tasks by id, unless they were started: no signal ends what runs in a thread."""
    return revoke(state, task_id)


@control_command(variadic="headers", signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]")
def revoke_by_stamped_headers(state: Panel, headers: object, **_: object) -> dict[str, str]:  # noqa: ARG001 - Celery passes it
    """Change nothing: a cancel is for a job's id."""
    # Celery's client fails on an answer without "ok".
    return {"ok": "nothing was revoked: memrepo cancels by id alone (celery control revoke ID)"}


def _cancel(backend: ResultBackend, task_id: str) -> str:
    reply_to = getattr(worker_state.requests.get(task_id), "reply_to", None) or ""
    return "is cancelled" if backend.cancel(task_id, reply_to) else "was started and goes on"
