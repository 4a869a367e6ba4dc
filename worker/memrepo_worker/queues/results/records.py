"""What is stored of a task that has ended, and who waits for one that has not."""

from __future__ import annotations

from dataclasses import dataclass

NO_MARK = ("", "")
"""Of what cannot have changed anything."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits for a task's result, and where."""

    task_id: str
    reply_to: str | None


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A final result in the form in which it is stored and published."""

    key: bytes
    meta: bytes | str
    reply_to: str
    mark: tuple[int, int] | tuple[str, str] = NO_MARK
    """What remembers that the task was executed, when the result has expired (see ``memrepo.wire.cancellation``)."""
