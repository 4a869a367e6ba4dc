"""Jobs that failed while nobody looked: each is told in one line of the log, so that nothing is lost in silence.

A job is looked at by its result, by ``await``, by its status or description once it has ended, or by having been
cancelled. One that was not is told when its ``Job`` object is gone, at the latest when the interpreter exits.
"""

from __future__ import annotations

import logging
import os
from typing import Protocol

from memrepo.errors import MemoryRepoError, advice

log = logging.getLogger("memrepo.job")


class Failure(Protocol):
    """What is known of a job that failed, or was given up; see ``memrepo.jobs.pending.Pending``."""

    task_id: str
    about: str
    looked_at: bool
    dropped: bool
    pid: int

    def words(self) -> str:
        """Say what became of it, without anything of its content."""
        ...


_unseen: dict[Failure, None] = {}
"""What was not told yet. Each step on it is one operation of a dictionary, as it may run in the garbage collector."""


def remember(failure: Failure) -> None:
    """Have a failure told, unless somebody looks at it before its job is gone."""
    _unseen[failure] = None
    if failure.looked_at:
        _unseen.pop(failure, None)
    elif failure.dropped:
        tell(failure)


def look_at(failure: Failure) -> None:
    """Have it never told."""
    failure.looked_at = True
    _unseen.pop(failure, None)


def drop(failure: Failure) -> None:
    """Take note that its job is gone, so that nobody can look at it any more."""
    failure.dropped = True
    tell(failure)


def tell(failure: Failure) -> None:
    """Tell a failure, if there is one that was neither told nor looked at."""
    if _unseen.pop(failure, failure) is None and failure.pid == os.getpid():
        log.warning("%s", failure.words())


def tell_all() -> None:
    """Tell all: the process ends, and nobody will look."""
    for failure in list(_unseen):
        tell(failure)


def words(failure: Failure, error: MemoryRepoError, *, sent: bool) -> str:
    """Say what became of a job: of what a worker says only the kind of error, as its text may hold paths."""
    kind = type(error).__name__
    job = f"job {failure.task_id} ({failure.about})"
    if not sent:
        return f"{job} was not sent, and nobody looked at it: {kind}: {error.message}"
    return (
        f"{job} failed, and nobody looked at it: {kind}. {advice(type(error))} "
        f'More is told by repos.job("{failure.task_id}").result().'
    )


def forget_all() -> None:
    """Forget all, in a child that was forked off: its parent tells them."""
    _unseen.clear()
