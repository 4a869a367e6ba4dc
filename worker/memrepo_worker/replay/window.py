"""Jobs under way: sent without waiting, up to a bound, and their results taken in the order sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from memrepo.errors import MemoryRepoError
from memrepo.jobs.job import Job

T = TypeVar("T")
Tag = TypeVar("Tag")


@dataclass(frozen=True, slots=True)
class Sent(Generic[T, Tag]):
    """A job, what it weighs in bytes while it is under way, and what its result belongs to."""

    job: Job[T]
    size: int
    tag: Tag


class JobFailedError(Exception, Generic[Tag]):
    """A job of the window failed; ``tag`` is what its result belongs to, ``cause`` what the job raised."""

    def __init__(self, tag: Tag, cause: MemoryRepoError) -> None:
        super().__init__(str(cause))
        self.tag = tag
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Window:
    """How much may be under way at once, and how long one result may take."""

    jobs_max: int
    bytes_max: int
    timeout_s: float

    def results(self, jobs: Iterable[Sent[T, Tag]]) -> Iterator[tuple[Tag, T]]:
        """Yield every job's tag and result, in order; ``jobs`` is asked for more (and so sends) as there is room.

        Raises:
            JobFailedError: a job failed; those after it may go on.
        """
        waiting: deque[Sent[T, Tag]] = deque()
        size = 0
        for sent in jobs:
            waiting.append(sent)
            size += sent.size
            while len(waiting) > self.jobs_max or size > self.bytes_max:
                size -= waiting[0].size
                yield self._oldest(waiting)
        while waiting:
            yield self._oldest(waiting)

    def _oldest(self, waiting: deque[Sent[T, Tag]]) -> tuple[Tag, T]:
        sent = waiting.popleft()
        try:
            return sent.tag, sent.job.result(self.timeout_s)
        except MemoryRepoError as error:
            raise JobFailedError(sent.tag, error) from error
