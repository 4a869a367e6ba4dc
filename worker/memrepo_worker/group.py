"""What travels from the mailbox to the service: an agent's waiting requests, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from memrepo.errors import MemoryRepoError
from memrepo.wire.payload import Payload
from memrepo.wire.requests.base import Request


class Agent(NamedTuple):
    """The name of one agent's repository. What a request is looked up by at each step, so it is hashed in C."""

    org_id: str
    agent_id: str

    def __str__(self) -> str:
        return f"{self.org_id}/{self.agent_id}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to trust a warm repository without asking the store.

    ``token`` is new each time a worker process takes a shard; ``valid_until_s`` is on the monotonic clock.
    A commit needs no lease: the conditional create protects it.
    """

    token: str
    valid_until_s: float


@dataclass(slots=True)
class PendingCreate:
    """Whether an entry may still be on its way to the store: the answer to its create was lost.

    While it may, nobody may be told that a request of it failed.
    """

    seq: int = 0

    @property
    def may_land(self) -> bool:
        """Whether the create's outcome is unknown."""
        return self.seq > 0

    def begin(self, seq: int) -> None:
        """Note that a create of this entry is being sent."""
        self.seq = seq

    def settle(self, tip: int) -> None:
        """Note that the journal has reached ``tip``: a number once taken stays taken, so an older create has lost."""
        if tip >= self.seq:
            self.seq = 0


@dataclass(slots=True)
class Places:
    """What reads found at their place in a group, where they are answered in a later turn than its writes."""

    _found: dict[int, object] = field(default_factory=dict)

    def keep(self, request: Request, found: object) -> None:
        """Keep what a request found."""
        self._found[id(request)] = found  # the same object from try to try; its id may be another's, too

    def find(self, request: Request) -> object | None:
        """Return what the request found; None: it was not kept."""
        return self._found.get(id(request))


@dataclass(frozen=True, slots=True)
class Group:
    """Requests of one agent in the order in which they were enqueued; they share one journal entry.

    A delete (``ENDS_GROUP``) is alone in its group: what is before it is answered in an earlier one. ``create`` and
    ``places`` go from try to try of the same requests.

    ``confirm`` makes sure that all of them are marked as started, which takes no time where it was done before. It is
    called before anything of the group is published or asked of the store, and before what takes long.

    Raises (``confirm``):
        RequestsEndedError: some of them are not to be executed.
        RequestsUnconfirmedError: that is not known.

    ``prepare_answers`` has the outcomes of all requests written as they are told, while the store is waited for. What
    it returns tells them, before the handler returns these same outcomes: it is called once nothing can change them any
    more, or never, and neither waits nor raises.

    ``following`` says what waits behind the group, as far as it is there and nobody else waits for a thread: what is
    likely to be the next group, or to begin it. It is nobody's yet: nothing of it may be told, or published.
    """

    agent: Agent
    requests: tuple[Request, ...]
    lease: Lease
    create: PendingCreate = field(default_factory=PendingCreate)
    places: Places = field(default_factory=Places)
    confirm: Callable[[], None] = lambda: None
    prepare_answers: PrepareAnswers = lambda _: lambda: None
    following: Callable[[], Sequence[Request]] = lambda: ()


@dataclass(frozen=True, slots=True)
class Success:
    """A request's result: a value of its operation's result type.

    ``payload`` is its form on the wire, where that was written already.
    """

    value: Any
    payload: Payload | None = field(default=None, compare=False, repr=False)


class RequestsEndedError(Exception):
    """Some of a group's requests are over: they were cancelled before they were marked as started.

    Nothing of the try was published. Whoever executes a group lets it pass.
    """


class RequestsUnconfirmedError(Exception):
    """It could not be found out whether a group's requests are marked as started.

    Nothing of the try was published. It is no fault of one of them: whoever executes a group lets it pass.
    """


class TurnGoesOnError(Exception):
    """A turn did a part of its work, which lies in the store, and leaves the rest for later turns.

    Call again soon with the same requests, after a rest of ``rest_s`` at least. No outcome may be told before that
    returns them.
    """

    def __init__(self, message: str, rest_s: float = 0.0) -> None:
        super().__init__(message)
        self.rest_s = rest_s


Outcome = Success | MemoryRepoError
"""What a request's producer is told."""

PrepareAnswers = Callable[[Sequence[Outcome]], Callable[[], None]]
"""See ``Group``."""


class GroupHandler(Protocol):
    """Executes groups. At most one call per agent is under way in a process."""

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle requests of the group and return their outcomes, in order: of the first, or the first few, or all.

        It calls ``group.confirm`` before it publishes anything; before anything is told, that was called in any case.

        A turn is bounded in time and in bytes of results. Once these are told, call again with the rest.

        Calling it again with the same requests is safe: what an earlier call settled is answered from the ledger. (A
        read may then see commits that come after it in the group, where the earlier call's answer was lost.)

        Raises:
            memrepo_worker.store.interface.UnavailableError: the store cannot be reached now; call again later with the
                same requests in the same order. No outcome may be told before that succeeds.
            RequestsEndedError, RequestsUnconfirmedError: as ``group.confirm`` raised it.
            TurnGoesOnError: it has come further, and is not at its end.
            memrepo_worker.store.interface.RefusedError: as above, but somebody has to mend something first.
        """
        ...
