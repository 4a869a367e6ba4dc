"""What becomes of one request after the other in the draft of an entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial

from memrepo.errors import InvalidRequestError, MemoryRepoError, RepoNotFoundError, RequestExpiredError
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.forks import ForkRequest
from memrepo_worker.bounds import EDITED_BYTES, WALK_ENTRIES
from memrepo_worker.git.reader import Reader
from memrepo_worker.group import Agent
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.draft import Copied, Draft, SettledBefore
from memrepo_worker.repos.state import RepoState
from memrepo_worker.service.opening import ServiceDependencies
from memrepo_worker.service.writes.settled import NotSettledError
from memrepo_worker.service.writes.table import reads_elsewhere, settle
from memrepo_worker.store.interface import UnavailableError


class Drafting:
    """Begins the drafts of one turn, and settles requests in them."""

    def __init__(
        self, dependencies: ServiceDependencies, agent: Agent, copy_for: Callable[[ForkRequest], Copied]
    ) -> None:
        self._dependencies = dependencies
        self._agent = agent
        self.copy_for = copy_for
        self.monotonic = dependencies.monotonic

    def begin(
        self,
        state: RepoState,
        ledger: SettledBefore,
        reader: Reader,
        depths: Mapping[str, int],
        *,
        legacy: bool = False,
    ) -> Draft:
        """Begin an entry on top of ``state``; see ``Draft``."""
        return Draft(
            state,
            ledger,
            reader,
            legacy=legacy,
            copy_for=self.copy_for,
            limits=self._dependencies.limits,
            edited_bytes_max=self._dependencies.bounds.edited_bytes_max,
            depths=depths,
        )

    def settle(self, request: Request, draft: Draft, *, may_land: bool) -> LedgerLine | MemoryRepoError:
        """Return what becomes of a request that changes something; what is not settled yet, is executed.

        ``may_land``: an entry that it is in may be on its way to the store.
        """
        known = draft.settled(request.request_id)
        if known is not None:
            return known if known.digest == request.digest else _another_request(request)
        try:
            line = self._verdict(request, draft)
        except NotSettledError as error:
            if may_land:
                raise UnavailableError(f"an answer was lost, and now {error}") from error
            return error.outcome
        _enter(line, draft, request)
        return line

    def _verdict(self, request: Request, draft: Draft) -> LedgerLine:
        """Execute a request on the draft. One that is too old is refused by a line like any other.

        For an earlier attempt's create may still be under way.
        """
        if abs(self._dependencies.clock() - request.enqueued_at) > self._dependencies.horizon_s:
            return _expired(request, self._dependencies.horizon_s)
        with self.bounded_walk(draft.reader):
            line = settle(request, draft, self._agent)
        if line.error is not None and line.error.details.get("bound") == "edited_bytes_max":
            self._dependencies.observer.count(EDITED_BYTES)
        return line

    def bounded_walk(
        self, reader: Reader, require_time: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Have one request look at no more of a history than it may."""
        over = partial(self._dependencies.observer.count, WALK_ENTRIES)
        return reader.walking(self._dependencies.bounds.walk_entries_max, over, require_time)


def _enter(line: LedgerLine, draft: Draft, request: Request) -> None:
    """Put a verdict into the entry that is being drafted.

    A journal that was never begun is not begun by asking for it. If something later in the group begins it after all,
    then what failed before that must fail again when seen again: so it goes in with that.
    """
    is_begun = draft.begun or draft.is_needed or reads_elsewhere(request)
    if is_begun or not isinstance(line.error, RepoNotFoundError):
        draft.settle(line)
    else:
        draft.defer_failure(line)


def _another_request(request: Request) -> InvalidRequestError:
    return InvalidRequestError.of(
        "request_id", f"{request.request_id} was used for another request of this agent: choose a new one"
    )


def _expired(request: Request, horizon_s: float) -> LedgerLine:
    error = RequestExpiredError(
        f"the request was enqueued more than {horizon_s / 3600:.0f} h away from now, so it was not executed: "
        "look into the history, then send it anew",
        {"request_id": request.request_id, "enqueued_at": request.enqueued_at},
    )
    return LedgerLine.of_error(request.request_id, request.digest, request.enqueued_at, error)
