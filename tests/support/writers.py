"""Writers: independent services over one store, as worker processes would be; each driven by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, overload

from memrepo.clock import Backoff, Clock, steady_clock
from memrepo.errors import MemoryRepoError
from memrepo.models import ChangeFeed, CommitResult, FileChange, Match, MemoryCommit, RequestOutcome, Snapshot
from memrepo.wire.operations import build
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo.wire.requests.reads import FindRequestRequest, GetFilesRequest, GetHistoryRequest
from memrepo.wire.requests.search import SearchRequest
from memrepo.wire.requests.writes import (
    CommitRequest,
    CreateRepoRequest,
    DeleteBranchRequest,
    DeleteRepoRequest,
    RestoreRequest,
)
from memrepo_worker.assembly import open_service
from memrepo_worker.git.history.known import KnownHistories
from memrepo_worker.group import Agent, Group, Lease, Success, TurnGoesOnError
from memrepo_worker.observe import Counters
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.handler import Service
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.decorators.retry import RetryPolicy
from memrepo_worker.store.interface import Store
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.jobs import present

Asked = TypeVar("Asked", bound=Request)

AGENT = Agent("acme", "agent-1")
NOW_S = 1_750_000_000.0
_IDS = count(1)


@dataclass
class Writer:
    """A service with a cache of its own."""

    service: Service
    counters: Counters
    agent: Agent = AGENT
    lease_token: str = "lease-1"
    lease_numbers: Iterator[int] = field(default_factory=lambda: count(2))

    def group(self, *requests: Request) -> list[Any]:
        """Hand a group over and return each outcome's value or error."""
        group = Group(self.agent, requests, Lease(self.lease_token, math.inf))
        outcomes = [*self.service(group)]
        while len(outcomes) < len(requests):  # as many turns as it takes
            outcomes += self.service(replace(group, requests=requests[len(outcomes) :]))
        return [outcome.value if isinstance(outcome, Success) else outcome for outcome in outcomes]

    @overload
    def ask(self, request: CommitRequest | CreateRepoRequest | RestoreRequest) -> CommitResult: ...
    @overload
    def ask(self, request: DeleteRepoRequest) -> None: ...
    @overload
    def ask(self, request: GetFilesRequest) -> Snapshot: ...
    @overload
    def ask(self, request: GetHistoryRequest) -> list[MemoryCommit]: ...
    @overload
    def ask(self, request: FindRequestRequest) -> RequestOutcome | None: ...
    @overload
    def ask(self, request: GetChangesRequest) -> ChangeFeed: ...
    @overload
    def ask(self, request: SearchRequest) -> list[Match]: ...
    @overload
    def ask(self, request: Request) -> object: ...
    def ask(self, request: Request) -> object:
        """Hand one request over, as often as its work takes turns; return its result, or raise its error."""
        while True:
            try:
                (outcome,) = self.group(request)
                break
            except TurnGoesOnError:
                continue
        if isinstance(outcome, MemoryRepoError):
            raise outcome
        return outcome

    def delete(self) -> None:
        """Have the memory deleted, in as many turns as it takes."""
        self.ask(delete())

    def warm(self) -> WarmRepo:
        """Return the warm repository, which is there."""
        return present(self.service.cache.find(self.agent))

    def forget_histories(self) -> None:
        """Have git list the commits that changed a path anew, whatever it was asked before."""
        repo = self.warm()
        repo.histories = KnownHistories(repo.reader)

    def new_lease(self) -> None:
        """Lose the shard and win it again: nothing known of the tip is trusted any more."""
        self.lease_token = f"lease-{next(self.lease_numbers)}"

    def messages(self) -> list[str]:
        """The messages in history, oldest first."""
        return [item.message for item in reversed(self.ask(history()))]

    def texts(self) -> dict[str, str]:
        """All files at the head."""
        return {path: file.text for path, file in self.ask(files()).items()}


@contextmanager
def writers(store: Store, folder: Path, number: int) -> Iterator[list[Writer]]:
    """Open several writers over one store."""
    with ExitStack() as stack:
        yield [stack.enter_context(writer(store, folder / f"cache-{index}")) for index in range(number)]


@contextmanager
def writer(
    store: Store,
    cache_dir: Path,
    now_s: float = NOW_S,
    identity: str = "",
    *,
    tip_proof_s: float | None = None,
    monotonic: Clock = steady_clock,
    clock: Clock | None = None,
    upkeep: UpkeepRunner | None = None,
    **changed: Any,
) -> Iterator[Writer]:
    """Open a writer over a store; with an ``identity`` it believes no other store's absences, with ``upkeep`` it folds.

    Its ``clock`` stands still at ``now_s`` unless there is one. ``changed`` are settings, where not at their defaults.
    """
    counters = Counters()
    settings = WorkerSettings(cache_dir=cache_dir, tip_proof_s=tip_proof_s, **changed)
    at_once = RetryPolicy(backoff=Backoff(0.0, 0.0))
    with open_service(
        settings,
        counters,
        store=store,
        identity=identity,
        clock=clock or (lambda: now_s),
        monotonic=monotonic,
        retry=at_once,
        upkeep=upkeep,
    ) as service:
        yield Writer(service, counters)


def _request(kind: type[Asked], request_id: str | None, **body: Any) -> Asked:
    values = {"enqueued_at": NOW_S, **body}
    return build(
        kind,
        org_id=AGENT.org_id,
        agent_id=AGENT.agent_id,
        request_id=request_id or f"request-{next(_IDS):06d}",
        **values,
    )


def commit(message: str, changes: dict[str, str | None] | None = None, **body: Any) -> CommitRequest:
    """A commit; without changes it writes its message into a file of that name."""
    wanted = {message: message} if changes is None else changes
    listed = [FileChange(path=path, content=text) for path, text in wanted.items()]
    return _request(CommitRequest, body.pop("request_id", None), changes=listed, message=message, **body)


def create(request_id: str | None = None, **files_: str) -> CreateRepoRequest:
    listed = [FileChange(path=path, content=text) for path, text in files_.items()]
    return _request(CreateRepoRequest, request_id, initial_files=listed)


def delete(request_id: str | None = None) -> DeleteRepoRequest:
    return _request(DeleteRepoRequest, request_id)


def delete_branch(name: str) -> DeleteBranchRequest:
    return _request(DeleteBranchRequest, None, name=name)


def files(ref: str = "HEAD") -> GetFilesRequest:
    return _request(GetFilesRequest, None, ref=ref)


def find(request_id: str) -> FindRequestRequest:
    return _request(FindRequestRequest, None, wanted=request_id)


def history() -> GetHistoryRequest:
    return _request(GetHistoryRequest, None, limit=1000)


def restore(ref: str, paths: list[str] | None = None) -> RestoreRequest:
    return _request(RestoreRequest, None, ref=ref, paths=paths)
