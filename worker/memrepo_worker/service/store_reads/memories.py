"""Answering which memories an org has: by one listing of its folders, and a look at each that is told."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.errors import InvalidRequestError
from memrepo.models import MemoryInfo, MemoryPage
from memrepo.validation.values import check_id
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.memories import EVERY_AGENT, ListMemoriesRequest
from memrepo_worker.group import Group, Outcome, Success
from memrepo_worker.journal.existence import is_there
from memrepo_worker.journal.layout import Layout
from memrepo_worker.service.meter import TurnMeter
from memrepo_worker.service.opening import ServiceDependencies


def is_about_an_org(group: Group) -> bool:
    """Whether a group's requests are about an org, and none is about an agent's memory."""
    return group.agent.agent_id == EVERY_AGENT


def answer_about_an_org(group: Group, dependencies: ServiceDependencies) -> Sequence[Outcome]:
    """Answer as many of the requests as a turn may take, and at least one.

    Raises:
        UnavailableError, RefusedError: the store does not say it; see ``GroupHandler``.
    """
    meter = TurnMeter(dependencies.bounds, dependencies.monotonic, dependencies.observer)
    outcomes: list[Outcome] = []
    for request in group.requests:
        if outcomes and meter.is_over:
            meter.count_over()
            break
        page = _page_of(request, dependencies)
        outcomes.append(Success(page))
        meter.add(page)
    return outcomes


def _page_of(request: Request, dependencies: ServiceDependencies) -> MemoryPage:
    assert isinstance(request, ListMemoriesRequest)
    store, org_id = dependencies.store, request.org_id
    dependencies.check_store()
    found = store.folders(f"{Layout.of_org(org_id)}{request.prefix}", request.after or "", request.limit)
    if not found.names:
        dependencies.confirm_store()  # an empty place is not an empty store
    agent_ids = [name for name in found.names if _is_id(name)]
    there = dependencies.fetchers.lane().map(
        lambda agent_id: is_there(store, Layout.of(org_id, agent_id)), agent_ids
    )
    return MemoryPage(
        memories=[
            MemoryInfo(org_id=org_id, agent_id=agent_id)
            for agent_id, is_one in zip(agent_ids, there, strict=True)
            if is_one
        ],
        next_after=found.names[-1] if found.has_more else None,
    )


def _is_id(name: str) -> bool:
    """Whether an agent could have that id: others may keep what they like beside the memories of an org."""
    try:
        check_id(name, "agent_id")
    except InvalidRequestError:
        return False
    return True
