"""Asking which memories an org has: the one call that is about no agent's memory."""

from __future__ import annotations

from memrepo.jobs.job import Dispatcher, Job
from memrepo.models import MemoryPage
from memrepo.repo.asking import Asking
from memrepo.validation.values import check_id
from memrepo.wire import operations
from memrepo.wire.requests.memories import EVERY_AGENT, ListMemoriesRequest


class Listing(Asking):
    """The memories of an org. Its requests have a queue like an agent's, and wait for those of no agent."""

    def __init__(self, dispatcher: Dispatcher, *, org_id: str) -> None:
        """Made by the clients."""
        self.org_id = check_id(org_id, "org_id")
        self.agent_id = EVERY_AGENT
        self._dispatcher = dispatcher

    def list_memories(self, prefix: str, limit: int, after: str | None) -> Job[MemoryPage]:
        """See ``ClientBase.list_memories``."""
        request = ListMemoriesRequest(**self._head(), prefix=prefix, limit=limit, after=after)
        return self._ask(operations.LIST_MEMORIES, request)
