"""How far a job is, and why no further: what ``job.describe()`` tells, and a time-out with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from memrepo.errors import JobTimeoutError
from memrepo.wire.record import Status

UNSENT = "the broker has not taken it yet"
FETCHING = "it has ended; its result is on its way to this client"

_REASONS: Mapping[Status, str] = {
    "queued": "no worker has begun",
    "running": "a worker is at it",
    "retrying": "the object store cannot be reached; the worker tries again",
    "unknown": "it has no record: it may wait in its queue for a worker, its result may have expired, or it was never "
    "sent",
}
_SERVED = "no worker has begun; one serves its queue"
_NOT_SERVED = "no worker serves its queue"


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a job was when it was asked.

    ``reason`` says in a few words why it is no further: for ``retrying`` what the store said, for ``failed`` and
    ``cancelled`` what the error says, for ``done`` nothing. ``since`` is when it came to this status (UTC), as far as
    this client knows; None for a job that another client sent, and whose record does not say. ``served`` tells whether
    a worker serves the job's queue now; None where that is not known: the broker was not asked yet or does not answer,
    another client sent the job, or it has ended.
    """

    status: Status
    reason: str
    since: datetime | None = None
    served: bool | None = None

    def __str__(self) -> str:
        return f"{self.status}, {self.reason}" if self.reason else self.status


def state_of(status: Status, words: str, since_s: float | None, *, served: bool | None) -> JobState:
    """Put a job's state into words; ``words`` are those of its record or its sender, where there are any."""
    if status == "queued" and not words and served is not None:
        words = _SERVED if served else _NOT_SERVED
    elif status in ("running", "retrying") and served is False:  # whoever had begun is gone
        words = f"{words or _REASONS[status]}, but {_NOT_SERVED} now"
    since = None if since_s is None else datetime.fromtimestamp(since_s, UTC)
    return JobState(status, words or _REASONS.get(status, ""), since, served)


def late(
    job_id: str, timeout_s: float | None, state: JobState, *, of: int = 1, unended: int = 1
) -> JobTimeoutError:
    """Return the error for a job that has not ended in time; ``unended`` of the jobs waited for have not."""
    have = "has" if unended == 1 else "have"
    within = f"not ended within {timeout_s or 0:g} s"
    others = f"{unended} of {of} jobs {have} {within}; the first of them, job {job_id}, is "
    alone = f"Job {job_id} has {within}: "
    goes_on = "They go on" if of > 1 else "It goes on"
    if state.status == "unknown":
        goes_on = "If it was sent, it goes on"
    return JobTimeoutError(
        f"{others if of > 1 else alone}{state}. {goes_on}: wait again, or poll job.describe().",
        {"job_id": job_id, "timeout_s": timeout_s, "status": state.status, "reason": state.reason},
    )
