"""What a fork does to a draft: it begins an agent's memory with what another has."""

from __future__ import annotations

from memrepo.errors import RepoExistsError
from memrepo.wire.requests.forks import ForkRequest
from memrepo_worker.group import Agent
from memrepo_worker.journal.ledger import COMMITTED
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.refs import refuse_legacy
from memrepo_worker.service.writes.settled import Settled


def fork(request: ForkRequest, draft: Draft, agent: Agent) -> Settled:
    """Begin with another's commits, or its files; the other is read only where the agent has no memory yet.

    Raises:
        RepoExistsError: it has one.
        MemoryRepoError, NotSettledError, UnavailableError, RefusedError: as ``service.forks.copies.Copies.copy``.
    """
    refuse_legacy(draft.view, agent)
    if draft.view.exists:
        raise RepoExistsError(
            f"{agent} has a memory already: fork into an agent that has none, or delete that memory first",
            {"org_id": agent.org_id, "agent_id": agent.agent_id},
        )
    copied = draft.copy_for(request)
    draft.begin_from(copied)
    return Settled(COMMITTED, copied.head)
