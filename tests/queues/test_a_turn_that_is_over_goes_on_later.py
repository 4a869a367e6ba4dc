"""A group whose turn is over goes on when its agent comes again: behind the other agents, before its own later ones."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from memrepo.errors import WorkerFaultError
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.observe import TurnTimes
from memrepo_worker.scheduling.under_way import GroupUnderWay
from memrepo_worker.store.interface import UnavailableError
from tests.support.posts import Handler, Note, Post, Responder
from tests.support.waiting import wait_for


class Value:
    """A result."""


@dataclass
class Parted(Handler):
    """Settles no more than two requests at a time, each with a value of its own; ``alive`` are those in memory."""

    alive: weakref.WeakSet[Value] = field(default_factory=weakref.WeakSet)

    def __call__(self, group: Group) -> list[Outcome]:
        settled = [Success(Value()) for _ in super().__call__(group)[:2]]
        self.alive.update(outcome.value for outcome in settled)
        return [*settled]


class Forgetful(Responder):
    """Keeps nothing of what it is told but the order."""

    def settle(self, tickets: Sequence[Note], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        self.order += [ticket.id for ticket in tickets]


def parted(open_post: Callable[..., Post], **options: object) -> tuple[Post, Parted]:
    handler = Parted()
    return open_post(turns_max=1, handler=handler, **options), handler


def waiting_behind(post: Post, agent: str, number: int) -> list[str]:
    """Send so many requests while the only thread is busy with another agent's; they share a group."""
    post.send("first")
    wait_for(lambda: post.handler.groups, "the first group")
    return [post.send(agent) for _ in range(number)]


def test_other_agents_come_between_and_later_requests_after(
    open_post: Callable[..., Post],
) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 5)
    other = post.send("other")

    handler.gate.set()
    wait_for(lambda: hot[0] in post.responder.answers, "the first answers")
    late = post.send("hot")
    post.finish()

    turns = [ids for agent, ids in handler.groups if agent in ("hot", "other")]
    assert [ids[:2] for ids in turns[:4]] == [hot[:2], [other], hot[2:4], hot[4:][:2]]
    assert turns[-1][-1] == late or late in turns[3]
    assert [one for one in post.responder.order if one in (*hot, late)] == [*hot, late]


def test_what_was_settled_is_told_before_the_rest_is_begun(
    open_post: Callable[..., Post],
) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 5)
    told: list[list[str]] = []
    handler.act = lambda group: told.append(post.responder.order[1:])

    post.finish()

    assert told[-3:] == [[], hot[:2], hot[:4]]


def test_no_request_is_answered_twice_where_the_rest_is_tried_again(
    open_post: Callable[..., Post],
) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 4)
    failures = [UnavailableError("away"), ZeroDivisionError(), UnavailableError("away")]

    def fail_at_the_rest(group: Group) -> None:
        if group.requests[0].request_id == hot[2] and failures:
            raise failures.pop()

    handler.act = fail_at_the_rest
    post.finish()

    assert post.responder.order[1:] == hot
    assert not failures


def test_a_fault_in_the_rest_is_told_of_that_request_alone(
    open_post: Callable[..., Post],
) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 5)

    def fail_at_the_fourth(group: Group) -> None:
        if hot[3] in [request.request_id for request in group.requests]:
            raise ZeroDivisionError

    handler.act = fail_at_the_fourth
    post.finish()

    verdicts = [post.responder.answers[one] for one in hot]
    assert [isinstance(verdict, Success) for verdict in verdicts] == [True, True, True, False, True]
    assert isinstance(verdicts[3], WorkerFaultError)
    assert post.responder.order[1:] == hot


def test_a_hand_over_takes_the_rest_along_in_order(
    open_post: Callable[..., Post],
) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 5)
    reached, go_on = threading.Event(), threading.Event()

    def hold_the_other(group: Group) -> None:
        if group.agent.agent_id == "other":
            reached.set()
            assert go_on.wait(10)

    handler.act = hold_the_other
    post.send("other")
    handler.gate.set()
    assert reached.wait(10)
    late = post.send("hot")
    taken = post.mailbox.withdraw(lambda agent: agent == Agent("acme", "hot"))
    go_on.set()
    post.finish()

    assert [ticket.id for ticket in taken] == [*hot[2:], late]
    assert post.responder.order[1:3] == hot[:2]
    assert set(post.responder.answers).isdisjoint([*hot[2:], late])


def test_a_shutdown_abandons_the_rest(open_post: Callable[..., Post]) -> None:
    post, handler = parted(open_post)
    hot = waiting_behind(post, "hot", 5)
    reached, go_on = threading.Event(), threading.Event()

    def hold(group: Group) -> None:
        if group.agent.agent_id == "other":
            reached.set()
            assert go_on.wait(10)

    handler.act = hold
    post.send("other")
    handler.gate.set()
    assert reached.wait(10)
    post.mailbox.stop()
    go_on.set()
    wait_for(lambda: post.mailbox.unsettled(lambda _: True) == 0, "the end")

    assert post.responder.abandoned == hot[2:]


def test_the_rest_of_an_agent_that_is_not_ours_any_more_is_abandoned(
    open_post: Callable[..., Post],
) -> None:
    ours = [True]
    post, handler = parted(open_post, is_ours=lambda _: ours[0])
    hot = waiting_behind(post, "hot", 5)

    def lose(group: Group) -> None:
        ours[0] = group.agent.agent_id != "hot"

    handler.act = lose
    post.finish()

    assert post.responder.abandoned == hot[2:]
    assert post.responder.order[1:] == hot[:2]


def test_results_that_are_told_are_let_go(open_post: Callable[..., Post]) -> None:
    post, handler = parted(open_post, responder=Forgetful())
    hot = waiting_behind(post, "hot", 6)
    kept: list[int] = []
    handler.act = lambda group: kept.append(len(handler.alive))

    post.finish()

    assert post.responder.order[1:] == hot
    assert kept == [0, 0, 0, 0]


def test_a_result_that_cannot_be_told_is_its_own_requests_trouble_also_where_its_group_goes_on_later(
    open_post: Callable[..., Post],
) -> None:
    responder = Responder()
    post = open_post(turns_max=1, handler=TwoAtATime(), responder=responder)
    hot = waiting_behind(post, "hot", 5)
    responder.unable = lambda outcomes: any(
        isinstance(outcome, Success) and outcome.value == hot[1] for outcome in outcomes
    )

    post.finish()

    assert isinstance(responder.answers[hot[1]], WorkerFaultError)
    others = [hot[0], *hot[2:]]
    assert [responder.answers[one] for one in others] == [Success(one) for one in others]


def test_what_came_while_a_group_was_given_up_is_served(
    open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its shard may be lost, and taken again with the same messages, before the group is taken out."""
    ours = [True]
    post = open_post(turns_max=1, handler=TwoAtATime(), is_ours=lambda _: ours[0])
    hot = waiting_behind(post, "hot", 3)
    take_out, again = post.mailbox._abandon, list[str]()

    def late(groups: Sequence[GroupUnderWay[Note]]) -> None:
        ours[0] = True
        again.extend(post.send("hot") for _ in range(2))
        take_out(groups)

    monkeypatch.setattr(post.mailbox, "_abandon", late)  # the moment between two locks
    ours[0] = False
    post.handler.gate.set()
    wait_for(lambda: again, "the group to be given up")
    post.finish()

    assert post.responder.abandoned == hot[2:]
    assert [post.responder.answers[one] for one in again] == [Success(one) for one in again]


class TwoAtATime(Handler):
    """Settles no more than two requests at a time."""

    def __call__(self, group: Group) -> list[Outcome]:
        return super().__call__(group)[:2]
