"""What the two clients have in common: how they are made, and how they name memories and jobs."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from memrepo.errors import InvalidRequestError
from memrepo.jobs.job import Dispatcher, Job
from memrepo.models import MemoryPage
from memrepo.repo import MemoryRepo
from memrepo.repo.listing import Listing
from memrepo.settings import Settings
from memrepo.several_cells import dispatcher_of


class ClientBase:
    """A client of the memories of all agents; see ``MemoryRepos`` and ``AsyncMemoryRepos``."""

    BLOCKS: ClassVar[bool]

    def __init__(
        self,
        *,
        broker_url: str | None = None,
        result_url: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Connect at first use.

        Addresses are ``redis://``, ``rediss://`` or ``unix://``; ``result_url`` defaults to the broker's. Several cells
        are named by ``settings`` alone (``Settings(cells="a=redis://… b=redis://…")``).

        Raises:
            InvalidRequestError: an address is none of these, or an argument is of another type.
        """
        _check_kinds(broker_url, result_url, settings)
        chosen = (settings or Settings()).at(broker_url, result_url)
        self._dispatcher: Dispatcher = dispatcher_of(chosen, blocks=self.BLOCKS)

    @classmethod
    def from_env(cls) -> Self:
        """Make a client from ``MEMREPO_…`` variables.

        Raises:
            InvalidRequestError: naming the variable that makes no sense.
        """
        return cls(settings=Settings.from_env())

    @classmethod
    def over(cls, dispatcher: Dispatcher) -> Self:
        """Make a client over another dispatcher than the queue's, as ``memrepo_worker.testing`` does."""
        made = cls.__new__(cls)
        made._dispatcher = dispatcher
        return made

    def repo(self, *, org_id: str, agent_id: str) -> MemoryRepo:
        """Return one agent's memory; asks nobody whether there is one.

        Raises:
            InvalidRequestError: an id is not 1 to 128 letters, digits or ``._@+=-``.
        """
        return MemoryRepo(self._dispatcher, org_id=org_id, agent_id=agent_id)

    def list_memories(
        self, org_id: str, *, prefix: str = "", limit: int = 100, after: str | None = None
    ) -> Job[MemoryPage]:
        """List the memories of an org whose agent's id begins with ``prefix``; deleted ones are left out.

        A page is of at most ``limit`` agents (500 at most), in the store's own order, which on some stores is not that
        of the ids. Go on with ``after=page.next_after`` until that is None; a page may have fewer memories than
        ``limit``, or none, before that.

        A memory is listed from when its creation was answered until its deletion was. The call has no place among
        those for one agent: it waits for none of them. Its costs are in docs/api.md.

        Raises:
            InvalidRequestError: the org is no id, or the prefix cannot begin one.
        """
        return Listing(self._dispatcher, org_id=org_id).list_memories(prefix, limit, after)

    def job(self, job_id: str) -> Job[Any]:
        """Return a job by its id, sent by any process; who holds the id may read its result.

        The result has its type again: its record says which operation it is of.

        Such a job is only read: what it asks for is known to its sender alone, which sends it again if the broker has
        lost it, for as long as that process waits for it. Where that process is gone, too, the job is ``unknown``
        here, and after ``result_expires_s`` its result is ResultExpiredError: ask by ``repo.find_request``, or make the
        same call again with the same ``request_id``, which is applied once.
        """
        return self._dispatcher.find(job_id)


def _check_kinds(broker_url: object, result_url: object, settings: object) -> None:
    for field, value, kind in (
        ("broker_url", broker_url, str),
        ("result_url", result_url, str),
        ("settings", settings, Settings),
    ):
        if value is not None and not isinstance(value, kind):
            raise InvalidRequestError.of(
                field, f"must be {kind.__name__} or None, not {type(value).__name__}"
            )


def no_report(_ended: int, _all: int) -> None:
    """Tell nobody of the progress."""
