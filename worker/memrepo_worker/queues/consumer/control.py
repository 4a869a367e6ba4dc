"""Remote-control commands: what ``celery inspect`` adds to Celery's own, and ``revoke`` as memrepo means it.

Celery's own ``revoke`` runs in every worker: each remembers the id for as long as it lives, and marks the task as
revoked over whatever its owner has written meanwhile. Here all of them, and Flower's buttons, are a cancel: the job's
record decides (see ``memrepo.wire.cancellation``), whoever asks and how often. What was started goes on to its end.

What a worker serves and with how many threads, leases and settings say. So Celery's commands for that are answered by
an error that says what to do instead, as Flower and ``celery control`` show it, and change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """Return what this worker has counted since it started, e.g. ``store.put.requests``, and what there is now."""
    counters = state.consumer.intake.counters
    return {**counters.snapshot(), **counters.levels}


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


@dataclass(frozen=True)
class _Refused:
    """A command of Celery's that does nothing here: why, and the arguments by which clients ask for it."""

    why: str
    args: tuple[tuple[str, type], ...] = ()
    signature: str = ""


_QUEUES = (
    "a worker consumes the queues of the shards that it owns, and no other; to take it out of service, end it"
)
_POOL = "MEMREPO_CONCURRENCY says how many threads a worker has; start it again with another"

_REFUSED: Mapping[str, _Refused] = {
    "add_consumer": _Refused(
        _QUEUES,
        (("queue", str), ("exchange", str), ("exchange_type", str), ("routing_key", str)),
        "<queue> [exchange [type [routing_key]]]",
    ),
    "cancel_consumer": _Refused(_QUEUES, (("queue", str),), "<queue>"),
    "pool_grow": _Refused(_POOL, (("n", int),), "[N=1]"),
    "pool_shrink": _Refused(_POOL, (("n", int),), "[N=1]"),
    "pool_restart": _Refused("a worker's threads cannot be started anew; start the worker again"),
    "autoscale": _Refused(_POOL, (("max", int), ("min", int)), "[max [min]]"),
    "rate_limit": _Refused(
        "requests have no rate limit; turns are shared fairly between agents",
        (("task_name", str), ("rate_limit", str)),
        "<task_name> <rate_limit>",
    ),
    "time_limit": _Refused(
        "MEMREPO_TURN_TIME_S says how long a turn may take; start the worker again with another",
        (("task_name", str), ("soft", float), ("hard", float)),
        "<task_name> <soft_secs> [hard_secs]",
    ),
    "election": _Refused("workers hold no elections; leases say who serves what"),
    "objgraph": _Refused("it would draw what requests hold"),
}


def _register(name: str, refused: _Refused) -> None:
    def refuse(_: Panel, **__: object) -> dict[str, str]:
        return {"error": f"nothing was changed: {refused.why}"}

    control_command(
        name=name, help="Change nothing: refused here.", args=refused.args, signature=refused.signature
    )(refuse)


for _name, _refused in _REFUSED.items():
    _register(_name, _refused)


def _cancel(backend: ResultBackend, task_id: str) -> str:
    reply_to = getattr(worker_state.requests.get(task_id), "reply_to", None) or ""
    if backend.cancel(task_id, reply_to):
        return "is cancelled"
    return "has ended" if backend.has_ended(task_id) else "was started and goes on"
