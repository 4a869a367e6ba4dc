"""The synchronous client."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Self

from memrepo.client_base import ClientBase, no_report
from memrepo.jobs.job import Job, check_jobs, inquire_of, late_of
from memrepo.jobs.waiting import Progress, until_all_ended


class MemoryRepos(ClientBase):
    """The memories of all agents, for code that may block; ``AsyncMemoryRepos`` is its twin for asyncio.

    Thread-safe; connects at first use; make one per process and keep it. A context manager: leaving it sends what
    waits and disconnects.
    """

    BLOCKS: ClassVar[bool] = True

    def wait(
        self,
        jobs: Sequence[Job[object]],
        *,
        timeout_s: float | None = None,
        on_progress: Progress = no_report,
    ) -> None:
        """Return when all jobs have ended, well or not; then ``job.result()`` does not wait.

        It tells nothing of how they ended: a failure that nobody looks at afterwards is logged as one (docs/api.md).

        ``on_progress(ended, all)`` is called in this thread, at the begin and whenever one has ended.

        Raises:
            InvalidRequestError: there is something else than a job among them, or ``timeout_s`` is no number.
            JobTimeoutError: some have not ended within ``timeout_s``; they go on.
        """
        check_jobs(jobs, timeout_s)
        for job in jobs:
            job._watch()
        pendings = {job.pending for job in jobs}
        if not until_all_ended(pendings, timeout_s, on_progress, lambda: inquire_of(jobs)):
            raise late_of(jobs, timeout_s)

    def close(self) -> None:
        """Send what waits and disconnect. Jobs go on; ``repos.job(id)`` of another client finds them."""
        self._dispatcher.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
