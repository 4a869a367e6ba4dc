"""Who executes a group may look at what its agent sent after it, and nothing becomes of that but in its own turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from typing_extensions import override

from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent, Group, Outcome
from tests.support.posts import Handler, Note, Post, Responder
from tests.support.sending import commit_request
from tests.support.waiting import wait_for

OpenPost = Callable[..., Post]


@dataclass
class Curious(Handler):
    """Looks at what waits behind each group, when that is under way."""

    shown: list[list[str]] = field(default_factory=list)

    @override
    def __call__(self, group: Group) -> list[Outcome]:
        outcomes = super().__call__(group)
        self.shown.append([request.request_id for request in group.following()])
        return outcomes


@dataclass(frozen=True, eq=False)
class Elsewhere(Note):
    """A request whose body is elsewhere."""

    @property
    @override
    def at_hand(self) -> Request | None:
        return None


def curious(open_post: OpenPost, **options: object) -> tuple[Post, Curious]:
    handler = Curious()
    return open_post(handler=handler, **options), handler


def test_it_sees_what_its_agent_sent_after_it_in_order(open_post: OpenPost) -> None:
    post, handler = curious(open_post)
    first = post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    behind = [post.send("hot") for _ in range(3)]

    post.finish()

    assert handler.shown == [behind, []]
    assert handler.groups == [("hot", [first]), ("hot", behind)]


def test_it_sees_no_more_than_its_next_group(open_post: OpenPost) -> None:
    post, handler = curious(open_post, group_requests_max=2)
    post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    behind = [post.send("hot") for _ in range(3)]

    post.finish()

    assert handler.shown == [behind[:2], behind[2:], []]


def test_it_sees_nothing_where_another_agent_waits_for_a_thread(open_post: OpenPost) -> None:
    post, handler = curious(open_post, turns_max=1)
    post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    post.send("hot")
    post.send("other")

    post.finish()

    assert handler.shown == [[], [], []]


def test_it_sees_nothing_where_the_worker_is_to_end(open_post: OpenPost) -> None:
    post, handler = curious(open_post)
    post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    post.send("hot")
    post.mailbox.stop()

    handler.gate.set()

    wait_for(lambda: handler.shown, "the group to look")
    assert handler.shown == [[]]


def test_it_sees_nothing_behind_what_is_not_at_hand(open_post: OpenPost) -> None:
    post, handler = curious(open_post)
    post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    behind = post.send("hot")
    post.mailbox.park(Elsewhere(Agent("acme", "hot"), commit_request("acme", "hot")))
    post.send("hot")

    post.finish()

    assert handler.shown[0] == [behind]


def test_it_takes_nothing_out_by_looking(open_post: OpenPost) -> None:
    ours = True
    post, handler = curious(open_post, is_ours=lambda _: ours)
    looked: list[list[str]] = []
    withdrawn: list[list[str]] = []

    def look_and_lose_the_shard(group: Group) -> None:
        looked.append([request.request_id for request in group.following()])
        withdrawn.append([note.id for note in post.mailbox.withdraw(lambda _: True)])

    handler.act = look_and_lose_the_shard
    post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    behind = [post.send("hot") for _ in range(2)]

    post.finish()

    assert looked == withdrawn == [behind]


def test_what_it_saw_can_still_be_cancelled(open_post: OpenPost) -> None:
    responder = Responder()
    post, handler = curious(open_post, responder=responder)
    first = post.send("hot")
    wait_for(lambda: handler.groups, "the first group")
    cancelled, kept = post.send("hot"), post.send("hot")

    def look_and_cancel(group: Group) -> None:
        if [*group.following()]:
            responder.cancelled.add(cancelled)

    handler.act = look_and_cancel

    post.finish()

    assert handler.groups == [("hot", [first]), ("hot", [kept])]
    assert cancelled not in responder.confirmed
