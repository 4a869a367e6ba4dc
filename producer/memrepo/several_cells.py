"""Several cells behind one client: each request goes to its agent's, and no cell waits for another.

Each cell has a dispatcher of its own, with its own connections, threads and what waits to be sent; a job keeps to the
one that made it. So a Redis that is away makes the requests of its own agents wait, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from memrepo.cells import CELLS_SETTING, cell_named
from memrepo.clock import Clock, steady_clock, system_clock
from memrepo.dispatch.dispatcher import QueueDispatcher
from memrepo.jobs.job import Dispatcher, Job
from memrepo.limits import Limits
from memrepo.routing import cell_in_id, cell_of, id_in_cell
from memrepo.settings import Settings
from memrepo.validation.values import check_request_id
from memrepo.wire.operations import Asked, Operation

T = TypeVar("T")


def dispatcher_of(settings: Settings, *, blocks: bool) -> Dispatcher:
    """Make what sends a client's requests: to one Redis, or to each of several cells."""
    if settings.each_cell and not settings.cell:
        return CellsDispatcher(settings, blocks=blocks)
    return QueueDispatcher(settings, blocks=blocks)


class CellsDispatcher:
    """The dispatchers of all cells. Thread-safe; see ``memrepo.jobs.job.Dispatcher`` for what it owes.

    A job is told by its id which cell it is in: what the one cell made for it is followed by that cell's name.
    """

    def __init__(self, settings: Settings, *, blocks: bool, clock: Clock = steady_clock) -> None:
        """Connect to a cell at its first request."""
        self._settings = settings
        self._blocks = blocks
        self._clock = clock
        self._by_name: Mapping[str, QueueDispatcher] = {
            name: QueueDispatcher(settings.of_cell(name), blocks=blocks) for name in settings.each_cell
        }

    @property
    def blocks(self) -> bool:
        """Whether calls wait for the broker of their agent's cell."""
        return self._blocks

    @property
    def limits(self) -> Limits:
        """What requests are checked against."""
        return self._settings.limits

    def now_s(self) -> float:
        """Wall time: seconds since 1970-01-01 UTC."""
        return system_clock()

    def submit(self, operation: Operation[Asked, T], request: Asked, task_id: str) -> Job[T]:
        """Send a request to its agent's cell, under an id that names it; as ``QueueDispatcher.submit``."""
        cell = cell_of(request.org_id, request.agent_id, self._by_name)
        named = id_in_cell(task_id, cell)
        if request.request_id == task_id:  # nobody gave it another: it is the job's
            request = request.model_copy(update={"request_id": named})
        return self._by_name[cell].submit(operation, request, named)

    def find(self, job_id: str) -> Job[Any]:
        """Return a job that any client has sent.

        Raises:
            InvalidRequestError: it is of no cell of this client's.
        """
        check_request_id(job_id, "job_id")
        name = cell_in_id(job_id) or next(iter(self._by_name))  # the first was there when there was one alone
        cell_named(self._settings.each_cell, name, f"job_id, by {CELLS_SETTING}")
        return self._by_name[name].find(job_id)

    def listen(self, org_id: str, agent_id: str, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called whenever a worker of the agent's cell tells that its memory was written to."""
        return self._by_name[cell_of(org_id, agent_id, self._by_name)].listen(org_id, agent_id, heard)

    def close(self) -> None:
        """Send what waits and disconnect: from all cells at once, for as long as the slowest may take."""
        ends_at_s = self._clock() + max(each.begin_closing() for each in self._by_name.values())
        for each in self._by_name.values():
            each.close(max(0.0, ends_at_s - self._clock()))
