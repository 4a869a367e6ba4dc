"""The next group's draft, made while the store is waited for about the entry of the one before it.

It stands on what the memory will be if that entry becomes its newest. If it does not, the draft is thrown away; if it
does, the next turn begins with what is drafted already. Until then nobody knows of it: its requests are not marked and
can be cancelled, nothing of it is in the warm repository, and its entry is sent by its own turn, which begins as ever.
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from memrepo.limits import MIB
from memrepo.models import FileChange
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.git.reader import ObjectMap
from memrepo_worker.repos.draft import Ahead, Draft, PendingOutcome, SettledByThen
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.drafts.drafting import Drafting
from memrepo_worker.store.meanwhile import IsAnswered
from memrepo_worker.threads.giving_way import give_way

logger = logging.getLogger(__name__)

AHEAD_BYTES_MAX = MIB
"""What the requests may hold that are drafted ahead: it is kept until their turn, and written in one step."""

OBJECTS_BYTES_MAX = 2 * MIB
"""What they may come to as objects: each commit into a folder of very many files makes that folder's tree anew."""

AHEAD_AGE_S_MAX = 60.0
"""How long a draft is good: which requests are too old is looked at when it is made."""

BEFORE_BYTES_MAX = 8 * MIB
"""What the entry before them may hold: as long as their draft is kept, so are its objects."""


def draft_ahead(
    drafting: Drafting,
    repo: WarmRepo,
    draft: Draft,
    following: Callable[[], Sequence[Request]],
    is_answered: IsAnswered,
) -> Ahead | None:
    """Draft what follows on ``draft``, which is on its way to the store, until that has answered. Never raises."""
    if not draft.refs or draft.copied is not None:  # deleted, or begun with what cannot be read yet
        return None
    try:
        if sum(len(item.data) for item in draft.objects.values()) > BEFORE_BYTES_MAX:
            return None
        requests = _plain_commits(following())
        if not requests or is_answered():
            return None
        return _drafted(drafting, repo, draft, requests, is_answered)
    except Exception as error:  # noqa: BLE001 - whatever it is, the turn of these requests meets it
        logger.debug("the next group was not drafted ahead: %s", type(error).__name__)
        return None


def _drafted(
    drafting: Drafting, repo: WarmRepo, draft: Draft, requests: Sequence[Request], is_answered: IsAnswered
) -> Ahead | None:
    state = repo.state
    ahead = drafting.begin(
        replace(state, seq=state.seq + 1, refs=dict(draft.refs), origin_sha=draft.origin_sha),
        SettledByThen(draft.lines, repo.ledger),
        repo.reader.layered(ObjectMap(draft.objects)),
        ChainMap(draft.chains.depths, repo.delta_depths),
    )
    pending: list[PendingOutcome] = []
    known = size_bytes = 0
    for request in requests:
        if is_answered() or ahead.is_full or size_bytes > OBJECTS_BYTES_MAX:
            break
        give_way()
        pending.append(drafting.settle(request, ahead, may_land=False))
        size_bytes += sum(len(item.data) for item in islice(ahead.objects.values(), known, None))
        known = len(ahead.objects)
    if not pending:
        return None
    if len(pending) == len(requests) and ahead.is_needed and not is_answered():
        ahead.encode()
    return Ahead(ahead, requests[: len(pending)], pending, drafting.monotonic())


def _plain_commits(requests: Sequence[Request]) -> list[Request]:
    """Return the first requests, as far as they are such that need neither the store nor long to be executed."""
    found: list[Request] = []
    size_bytes = 0
    for request in requests:
        size_bytes += request.size_bytes
        if size_bytes > AHEAD_BYTES_MAX or not isinstance(request, CommitRequest) or not _is_plain(request):
            break
        found.append(request)
    return found


def _is_plain(request: CommitRequest) -> bool:
    """Whether a commit writes whole files on a branch's head, or on ``main``.

    So nothing is looked for in a history, and no file that is there is read, as it is for ``expected_sha256``.
    """
    at_head = request.expected_head is None and request.start_point == "main"
    return at_head and all(
        isinstance(change, FileChange) and change.expected_sha256 is None for change in request.changes
    )
