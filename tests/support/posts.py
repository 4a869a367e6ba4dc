"""A mailbox with all that is around it, driven by hand: who sends, who executes, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from memrepo.clock import Backoff
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, Group, Lease, Outcome, Success
from memrepo_worker.observe import Counters, TurnTimes
from memrepo_worker.scheduling.attempts import RetryRules
from memrepo_worker.scheduling.fair_share import FairShare
from memrepo_worker.scheduling.mailbox import Mailbox
from memrepo_worker.scheduling.mailbox_bounds import MailboxBounds
from memrepo_worker.trouble import WaitReason
from tests.support.sending import commit_request


@dataclass(frozen=True, eq=False)
class Note:
    agent: Agent
    request: Request
    size_bytes: int = 10

    @property
    def id(self) -> str:
        return self.request.request_id

    @property
    def at_hand(self) -> Request | None:
        return self.request

    @property
    def ends_group(self) -> bool:
        return self.request.ENDS_GROUP

    @property
    def trace_headers(self) -> Mapping[str, str]:
        return {}


@dataclass
class Responder:
    answers: dict[str, Outcome] = field(default_factory=dict)
    retried: list[str] = field(default_factory=list)
    waited_for: list[WaitReason] = field(default_factory=list)
    abandoned: list[str] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    """Which turn out to be cancelled only when it is asked for the second time."""
    confirmed: list[str] = field(default_factory=list)
    broken: bool = False
    unable: Callable[[Sequence[Outcome]], bool] = lambda outcomes: False
    order: list[str] = field(default_factory=list)

    def begin(self, tickets: Sequence[Note]) -> list[Note]:
        if self.broken:
            raise ZeroDivisionError("SECRET-CONTENT")
        return [ticket for ticket in tickets if ticket.id not in self.cancelled]

    def confirm(self, tickets: Sequence[Note]) -> Sequence[Note]:
        self.confirmed += [ticket.id for ticket in tickets]
        return [ticket for ticket in tickets if ticket.id not in self.ended]

    def prepare_answers(self, tickets: Sequence[Note], outcomes: Sequence[Outcome]) -> Callable[[], None]:
        return lambda: None

    def retrying(self, tickets: Sequence[Note], waiting: WaitReason) -> None:
        self.retried += [ticket.id for ticket in tickets]
        self.waited_for.append(waiting)

    def settle(self, tickets: Sequence[Note], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        if self.unable(outcomes):
            raise ZeroDivisionError
        self.order += [ticket.id for ticket in tickets]
        self.answers |= {ticket.id: outcome for ticket, outcome in zip(tickets, outcomes, strict=True)}

    def abandon(self, tickets: Sequence[Note]) -> None:
        self.abandoned += [ticket.id for ticket in tickets]


@dataclass
class Handler:
    """Records groups; ``gate`` holds every call until it is set."""

    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    act: Callable[[Group], None] = lambda group: None
    under_way: set[Agent] = field(default_factory=set)
    twice: list[Agent] = field(default_factory=list)

    @property
    def order(self) -> list[str]:
        """The requests in the order in which they were first tried."""
        return list(dict.fromkeys(request_id for _, ids in self.groups for request_id in ids))

    def __call__(self, group: Group) -> list[Outcome]:
        if group.agent in self.under_way:
            self.twice.append(group.agent)
        self.under_way.add(group.agent)
        try:
            self.groups.append((group.agent.agent_id, [request.request_id for request in group.requests]))
            assert self.gate.wait(10)
            self.act(group)
            return [Success(request.request_id) for request in group.requests]
        finally:
            self.under_way.discard(group.agent)


@dataclass
class Post:
    """A mailbox with all that is around it."""

    mailbox: Mailbox[Note]
    handler: Handler
    responder: Responder
    threads: ThreadPoolExecutor

    def send(self, agent: str, size_bytes: int = 10) -> str:
        note = Note(Agent("acme", agent), commit_request("acme", agent), size_bytes)
        self.mailbox.park(note)
        return note.id

    def finish(self) -> None:
        self.handler.gate.set()
        assert self.mailbox.drain(lambda _: True, 10)


@contextmanager
def posts() -> Iterator[Callable[..., Post]]:
    """Give what opens them; all are closed at the end."""
    opened: list[Post] = []

    def build(
        turns_max: int = 2,
        is_ours: Callable[[Agent], bool] = lambda _: True,
        handler: Handler | None = None,
        responder: Responder | None = None,
        shares: FairShare[Note] | None = None,
        submit: Callable[[Callable[[], None]], object] | None = None,
        **bounds: int,
    ) -> Post:
        handler, responder = handler or Handler(), responder or Responder()
        threads = ThreadPoolExecutor(turns_max + bounds.get("hanging_max", 0))
        rules = RetryRules(
            lambda _: Lease("t", 1e9),
            Random(1),
            Counters(),
            Backoff(0.001, 0.01, jitter=0.5),
            worker="w1@host",
        )
        mailbox = Mailbox(
            handler,
            responder,
            rules=rules,
            submit=submit or threads.submit,
            bounds=MailboxBounds(turns_max=turns_max, **bounds),
            is_ours=is_ours,
            shares=shares,
        )
        opened.append(Post(mailbox, handler, responder, threads))
        return opened[-1]

    yield build
    for post in opened:
        post.handler.gate.set()
        post.mailbox.stop()
        post.threads.shutdown()
