"""Answering which memories an org has: by one listing of its folders, and a look at each that is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from memrepo.errors import InvalidRequestError
from memrepo.models import MemoryInfo, MemoryPage
from memrepo.validation.values import check_id
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.memories import EVERY_AGENT, ListMemoriesRequest
from memrepo.wording import counted
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.journal.existence import is_there
from memrepo_worker.journal.layout import Layout
from memrepo_worker.logs import log
from memrepo_worker.service.meter import TurnMeter
from memrepo_worker.service.opening import ServiceDependencies
from memrepo_worker.store.interface import PlaceBrokenError, RefusedError

logger = logging.getLogger(__name__)

_Refusal = RefusedError | PlaceBrokenError
_REFUSALS = (RefusedError, PlaceBrokenError)
"""What may be wrong with one agent's objects alone."""

_NAMED_MAX = 3
"""So many of the agents that cannot be looked at are named in a line of the log."""


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
    there = _are_there(dependencies, org_id, agent_ids)
    return MemoryPage(
        memories=[MemoryInfo(org_id=org_id, agent_id=agent_id) for agent_id in agent_ids if there[agent_id]],
        next_after=found.names[-1] if found.has_more else None,
    )


def _are_there(
    dependencies: ServiceDependencies, org_id: str, agent_ids: Sequence[str]
) -> Mapping[str, bool]:
    """Say of each agent whether it has a memory.

    One whose folder or prefix the store refuses to be read (a link in it, no right to it), or whose place on the disk
    is broken, hides no other. Nobody has seen that it was deleted, so it is there, as a damaged one is, and a line of
    the log names it.

    Raises:
        UnavailableError, RefusedError: the store does not say it, or refuses more than them.
    """

    def look(agent_id: str) -> bool | _Refusal:
        try:
            return is_there(dependencies.store, Layout.of(org_id, agent_id))
        except _REFUSALS as error:
            return error

    there = _side_by_side(dependencies, look, agent_ids)
    if _refused(there):
        dependencies.confirm_store()  # a store that refuses everything is waited for
        # It may have refused them with everything else, a moment ago.
        there |= _side_by_side(dependencies, look, _refused(there))
    if refused := _refused(there):
        _tell(org_id, refused)
    return {agent_id: found is not False for agent_id, found in there.items()}


def _side_by_side(
    dependencies: ServiceDependencies,
    look: Callable[[str], bool | _Refusal],
    agent_ids: Iterable[str],
) -> dict[str, bool | _Refusal]:
    names = [*agent_ids]
    return dict(zip(names, dependencies.fetchers.lane().map(look, names), strict=True))


def _refused(there: Mapping[str, bool | _Refusal]) -> dict[str, _Refusal]:
    return {agent_id: found for agent_id, found in there.items() if isinstance(found, _REFUSALS)}


def _tell(org_id: str, refused: Mapping[str, _Refusal]) -> None:
    agents = [str(Agent(org_id, agent_id)) for agent_id in refused]
    more = f" and {len(agents) - _NAMED_MAX} more" if len(agents) > _NAMED_MAX else ""
    reason = str(next(iter(refused.values())))
    message = (
        f"{counted(len(agents), 'agent')} of {org_id} cannot be looked at, and listed as if with a memory: "
        f"{', '.join(agents[:_NAMED_MAX])}{more}: {reason}"
    )
    fields = {"org_id": org_id, "agents": agents[:_NAMED_MAX], "refused": len(agents), "reason": reason}
    log(logger, logging.WARNING, "memories.refused", message, fields)


def _is_id(name: str) -> bool:
    """Whether an agent could have that id: others may keep what they like beside the memories of an org."""
    try:
        check_id(name, "agent_id")
    except InvalidRequestError:
        return False
    return True
