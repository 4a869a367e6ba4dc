"""Whether a job was cancelled: decided once, at its record, by the one script that clients and workers run.

A record's states, and who writes them (the worker's scripts are in ``memrepo_worker.queues.results.scripts``):

====================  =========================  ==========================================  =======================
state                 comes after                written by                                  kept for
====================  =========================  ==========================================  =======================
absent                (the beginning)                                                        until something is written
REVOKED               absent                     ``cancel``: a client, or a worker for       twice the horizon
                                                 ``celery control revoke`` and Flower
STARTED               absent, STARTED, RETRY,    the owner before it executes, in one step   twice the horizon
                      RECEIVED                   with the look for REVOKED
RETRY                 STARTED, RETRY             the owner, while the store is away          twice the horizon
RECEIVED              STARTED, RETRY             the owner, if the body is lost: the         twice the horizon
                                                 producer sends the request again
SUCCESS, FAILURE      any                        the owner, with the acknowledgement         ``result_expires_s``
====================  =========================  ==========================================  =======================

So REVOKED is written only where nothing was started, and nothing is started where REVOKED is written: a job that says
"cancelled, nothing was changed" has changed nothing. A record goes back to absent in two ways: it expires, or a
worker that began a request for the first time finds that its body is lost and has done nothing. What expires first
is a result. Hence the mark: whoever stores a write's result also puts the task's mark into a set that is kept for twice
the horizon, and ``cancel`` looks for it. After that an id counts as new.

SUCCESS and FAILURE are written only of what was started. If they meet REVOKED, then Redis has lost the record in
between; what happened wins.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from memrepo.limits import MARKS_SPAN_S, RECORD_KEPT_S
from memrepo.redis.script import Script, lua
from memrepo.wire import record
from memrepo.wire.keys import ENDED_PREFIX, record_key

if TYPE_CHECKING:
    from redis import Redis

_SETS = 1024
"""The sets of marks are named ``memrepo:ended:SPAN:NUMBER``: by the number of the span of time (since 1970, by Redis'
own clock) and by the mark's. So many that each stays below 512 numbers up to 290 writes a second: Redis then takes 8
bytes for each, and 38 in larger sets."""

STATUS_OF = lua(__package__, "status_of")

_CANCEL = Script(STATUS_OF + lua(__package__, "cancel"))


def cancel(client: Redis, task_id: str, now_s: float, reply_to: str = "") -> bool:
    """Cancel a task unless it was started; whoever waits for its record, and ``reply_to``, is told.

    Also an id that nobody has sent yet: it will not be executed for as long as the record is kept. Doing it again is
    safe. Returns whether the task is cancelled; if not, nothing was changed.

    Raises:
        redis.RedisError: the result store does not answer, or refuses.
    """
    cancelled = record.cancelled(task_id, now_s)
    args: list[bytes | str | int] = [
        cancelled,
        RECORD_KEPT_S,
        reply_to,
        *mark_of(task_id),
        ENDED_PREFIX,
        MARKS_SPAN_S,
        RECORD_KEPT_S,
    ]
    return bool(_CANCEL.run(client, [record_key(task_id)], args))


def mark_of(task_id: str) -> tuple[int, int]:
    """Return set and number of a task's mark. That two tasks have the same one is as good as impossible."""
    digest = blake2b(task_id.encode(), digest_size=8).digest()
    number = int.from_bytes(digest) >> 1  # a Redis integer has a sign
    return number % _SETS, number
