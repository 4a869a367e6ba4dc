"""What tests do with jobs and with what they find."""

from __future__ import annotations

from typing import TypeVar

from memrepo import Job

T = TypeVar("T")

WAIT_S = 20


def done(job: Job[T]) -> T:
    """Return a job's result, or raise its error; a system that answers does so long before the time is over."""
    return job.result(timeout_s=WAIT_S)


def present(value: T | None) -> T:
    """Return what must be there."""
    assert value is not None
    return value
