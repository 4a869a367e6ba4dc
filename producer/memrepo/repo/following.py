"""The calls that tell what changed."""

from __future__ import annotations

from memrepo.jobs.job import Job
from memrepo.models import ChangeFeed
from memrepo.repo.asking import Asking
from memrepo.repo.watch import Watch
from memrepo.wire import operations
from memrepo.wire.requests.feed import GetChangesRequest


class Following(Asking):
    """Following what changes in a memory."""

    def get_changes(self, *, after: int | None = 0, limit: int = 100) -> Job[ChangeFeed]:
        """Tell what moved, from the journal itself, of at most ``limit`` entries after the number ``after``.

        0 is the beginning; None looks at none and says only which the newest is. Go on after the feed's ``seq``.
        A memory that was never begun, or of which nothing is newer, has an empty feed. A number beyond the newest, as
        one has whose store was set back, is an ``InvalidRequestError`` of the job with ``newest`` in its details.
        """
        request = GetChangesRequest(**self._head(), after=after, limit=limit)
        return self._ask(operations.GET_CHANGES, request)

    def watch(self, *, after: int | None = None) -> Watch:
        """Give the changes after that number as they come, without end, each at least once: ``for``, or ``async for``.

        None is from now on, which is when the first is asked for. To go on later, in this or another process, keep the
        ``resume_after`` of the last change that was dealt with. What does not get through meanwhile (the broker or the
        store is away, no worker is there) is waited out; an error that waiting does not mend is raised, also where
        ``after`` is beyond the newest entry (``get_changes``).
        """
        GetChangesRequest(**self._head(), after=after).check(self._dispatcher.limits)
        return Watch(self._dispatcher, self.get_changes, self.org_id, self.agent_id, after)
