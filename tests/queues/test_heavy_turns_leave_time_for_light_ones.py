"""However much some agents ask for: while others ask for little, one heavy turn computes at a time, and then rests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from memrepo_worker.bounds import SharingBounds
from memrepo_worker.group import Agent, Group, Outcome
from memrepo_worker.observe import TurnTimes
from memrepo_worker.scheduling.fair_share import FairShare
from memrepo_worker.scheduling.turns import HANGS_S, RunningTurn
from memrepo_worker.store.interface import UnavailableError
from tests.support.hand_clock import HandClock
from tests.support.posts import Handler, Note, Post, Responder
from tests.support.sending import commit_request
from tests.support.waiting import wait_for

Posts = Callable[..., Post]


def notes(agent: str, number: int, size_bytes: int = 10) -> list[Note]:
    return [Note(Agent("acme", agent), commit_request("acme", agent), size_bytes) for _ in range(number)]


@dataclass(eq=False)
class Served:
    """What is asked of a group: whose it is, how long it waits for the store by now, and its requests."""

    agent: Agent
    store_wait_s: float = 0.0
    in_hand: Sequence[Note] = ()


def turn(agent: str, *, heavy: bool, store_wait_s: float = 0.0, size_bytes: int = 0) -> RunningTurn[Note]:
    served = Served(Agent("acme", agent), store_wait_s, notes(agent, 1, size_bytes))
    return RunningTurn(cast("Any", served), is_retry=False, is_heavy=heavy)


def room(shares: FairShare[Note]) -> bool:
    return shares.has_room()


class TestWhatIsHeavy:
    def test_many_requests_or_bytes_are(self) -> None:
        shares = FairShare[Note](HandClock())
        agent = Agent("acme", "a")
        assert not shares.is_heavy(agent, notes("a", SharingBounds.heavy_requests - 1))
        assert shares.is_heavy(agent, notes("a", SharingBounds.heavy_requests))
        assert shares.is_heavy(agent, notes("a", 1, SharingBounds.heavy_bytes))

    def test_whoever_has_used_much_lately_is_however_small_each_turn_was(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        for _ in range(100):
            shares.end(turn("busy", heavy=False), 0.004)
            shares.end(turn("calm", heavy=False), 0.004 * SharingBounds.heavy_share / 2)
            clock.now_s += 0.008
        assert shares.is_heavy(Agent("acme", "busy"), notes("busy", 1))
        assert not shares.is_heavy(Agent("acme", "calm"), notes("calm", 1))
        clock.now_s += 100 * 0.004 / SharingBounds.heavy_share
        assert not shares.is_heavy(Agent("acme", "busy"), notes("busy", 1))

    def test_whoever_has_worked_for_long_is_light_again_soon_after_it_is_over(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        busy = Agent("acme", "busy")
        for _ in range(10_000):  # a memory that is made in one go: 40 s of a processor
            shares.end(turn("busy", heavy=shares.is_heavy(busy, notes("busy", 1))), 0.004)
            clock.now_s += 0.01
        assert shares.is_heavy(busy, notes("busy", 1))
        forgotten_s = SharingBounds.heavy_account_s_max / SharingBounds.heavy_share
        clock.now_s += 0.9 * (forgotten_s - SharingBounds.heavy_burst_s / SharingBounds.heavy_share)
        assert shares.is_heavy(busy, notes("busy", 1))
        clock.now_s += 0.1 * forgotten_s
        assert not shares.is_heavy(busy, notes("busy", 1))

    def test_accounts_are_kept_of_a_bounded_number_of_agents(self) -> None:
        shares = FairShare[Note](HandClock())
        for number in range(12_000):
            shares.end(turn(f"agent-{number}", heavy=False), 2 * SharingBounds.heavy_burst_s)
        heavy = sum(shares.is_heavy(Agent("acme", f"agent-{number}"), ()) for number in range(12_000))
        assert heavy == 10_000


class TestRoomForAHeavyTurn:
    def test_there_is_room_while_nobody_else_is_served(self) -> None:
        shares = FairShare[Note](HandClock())
        for number in range(4):
            assert room(shares)
            shares.begin(turn(f"heavy-{number}", heavy=True))

    def test_there_is_room_for_one_while_light_turns_come(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        shares.begin(turn("light", heavy=False))
        assert room(shares)
        shares.begin(turn("heavy", heavy=True))
        assert not room(shares)
        clock.now_s += SharingBounds.shared_s
        assert room(shares)

    def test_an_agents_own_light_turn_holds_its_heavy_ones_back_as_little_as_none(self) -> None:
        shares = FairShare[Note](HandClock())
        own = Agent("acme", "own")
        shares.begin(turn("own", heavy=False))
        shares.begin(turn("own", heavy=True))
        assert shares.has_room(own)
        assert not shares.is_shared(own)
        assert not shares.has_room(Agent("acme", "other"))

    def test_the_light_turns_of_others_hold_it_back_whoevers_the_last_one_was(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        own = Agent("acme", "own")
        for agent in ("other", "own", "own"):
            shares.begin(turn(agent, heavy=False))
            clock.now_s += SharingBounds.shared_s / 4
        shares.begin(turn("own", heavy=True))
        assert shares.is_shared(own)
        assert not shares.has_room(own)
        clock.now_s += SharingBounds.shared_s / 4
        assert not shares.is_shared(own)
        assert shares.is_shared(Agent("acme", "other"))

    def test_it_rests_in_proportion_to_what_the_last_one_used(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        heavy = turn("heavy", heavy=True)
        shares.begin(heavy)
        shares.end(heavy, 0.1)
        shares.begin(turn("light", heavy=False))
        clock.now_s += SharingBounds.rest_ratio * 0.1 - 0.001
        shares.begin(turn("light", heavy=False))
        assert not room(shares)
        clock.now_s += 0.002
        assert room(shares)

    def test_no_rest_is_longer_than_a_bound(self) -> None:
        clock = HandClock()
        shares = FairShare[Note](clock)
        heavy = turn("heavy", heavy=True)
        shares.begin(heavy)
        shares.end(heavy, 1e6)
        clock.now_s += SharingBounds.turn_rest_s_max
        shares.begin(turn("light", heavy=False))
        assert room(shares)

    def test_one_that_waits_for_the_store_leaves_room_for_another(self) -> None:
        shares = FairShare[Note](HandClock())
        shares.begin(turn("light", heavy=False))
        shares.begin(turn("waiting", heavy=True, store_wait_s=0.001))
        assert room(shares)
        shares.begin(turn("computing", heavy=True))
        assert not room(shares)

    def test_those_that_weigh_much_together_are_few_also_while_nobody_else_is_served(self) -> None:
        shares, half = FairShare[Note](HandClock()), SharingBounds.heavy_at_once_bytes // 2
        first = turn("first", heavy=True, size_bytes=half)
        shares.begin(first)
        assert room(shares)
        shares.begin(turn("second", heavy=True, size_bytes=half))
        assert not room(shares)
        shares.end(first, 0.0)
        assert room(shares)

    def test_one_whose_store_hangs_keeps_no_other_from_beginning(self) -> None:
        shares = FairShare[Note](HandClock())
        size_bytes = SharingBounds.heavy_at_once_bytes
        shares.begin(turn("waiting", heavy=True, size_bytes=size_bytes, store_wait_s=HANGS_S / 2))
        assert not room(shares)
        shares = FairShare[Note](HandClock())
        shares.begin(turn("hanging", heavy=True, size_bytes=size_bytes, store_wait_s=HANGS_S))
        assert room(shares)


@dataclass
class SlowResponder(Responder):
    """Tells nobody anything until ``gate`` is set; ``most`` is how many were being told at once."""

    gate: threading.Event = field(default_factory=threading.Event)
    telling: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settle(self, tickets: Sequence[Note], outcomes: Sequence[Outcome], times: TurnTimes) -> None:
        with self.lock:
            self.telling += 1
            self.most = max(self.most, self.telling)
        assert self.gate.wait(10)
        super().settle(tickets, outcomes, times)
        with self.lock:
            self.telling -= 1


@pytest.mark.parametrize("used_s", [0.0, 1.0])
def test_of_many_heavy_agents_one_is_served_while_light_ones_come(open_post: Posts, used_s: float) -> None:
    clock = HandClock()
    shares = FairShare[Note](clock)
    handler = Handler()
    post = open_post(turns_max=8, handler=handler, shares=shares)
    shares.end(turn("light", heavy=False), 0.0)
    for number in range(4):
        shares.end(turn(f"heavy-{number}", heavy=False), used_s)
        post.send(f"heavy-{number}", 10 if used_s else SharingBounds.heavy_bytes)
    wait_for(lambda: handler.groups, "the first heavy turn")
    for number in range(5):
        post.send(f"light-{number}")
    wait_for(lambda: len(handler.groups) == 6, "all light turns")

    assert [agent for agent, _ in handler.groups if agent.startswith("heavy")] == ["heavy-0"]

    handler.gate.set()

    def is_drained() -> bool:
        clock.now_s += SharingBounds.shared_s + SharingBounds.turn_rest_s_max
        return post.mailbox.unsettled(lambda _: True) == 0

    wait_for(is_drained, "the other heavy turns")  # side by side
    assert sorted(agent for agent, _ in handler.groups if agent.startswith("heavy")) == [
        f"heavy-{number}" for number in range(4)
    ]


def test_those_that_were_held_back_are_served_side_by_side_once_no_light_ones_come(open_post: Posts) -> None:
    clock = HandClock()
    shares = FairShare[Note](clock)
    handler = Handler()
    post = open_post(turns_max=8, handler=handler, shares=shares)
    shares.end(turn("light", heavy=False), 0.0)
    for number in range(4):
        post.send(f"heavy-{number}", SharingBounds.heavy_bytes)
    wait_for(lambda: len(post.mailbox._line._heavy) == 3, "those that are held back")
    assert [agent for agent, _ in handler.groups] == ["heavy-0"]

    clock.now_s += SharingBounds.shared_s

    wait_for(lambda: len(handler.under_way) == 4, "all of them at once", 9)


@dataclass
class AwayAtFirst:
    """Serves the first heavy group no sooner than at its second try, and that until ``gate`` is set."""

    tries: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, group: Group) -> None:
        if group.agent.agent_id == "heavy-0":
            self.tries += 1
            if self.tries == 1:
                raise UnavailableError("away")
            assert self.gate.wait(10)


def test_a_heavy_group_that_is_tried_again_is_heavy_still(open_post: Posts) -> None:
    clock = HandClock()
    served = AwayAtFirst()
    handler, responder = Handler(act=served), Responder()
    handler.gate.set()
    post = open_post(turns_max=8, handler=handler, responder=responder, shares=FairShare[Note](clock))
    post.send("heavy-0", SharingBounds.heavy_bytes)
    wait_for(lambda: served.tries == 2, "the second try")
    clock.now_s += (
        SharingBounds.shared_s + SharingBounds.turn_rest_s_max
    )  # the first one's rest is over, and nobody is light
    for light in ("light-0", "light-1"):
        sent = post.send(light)
        wait_for(lambda sent=sent: sent in responder.answers, "the light turn")  # type: ignore[misc]
        post.send("heavy-1", SharingBounds.heavy_bytes)

    assert "heavy-1" not in [agent for agent, _ in handler.groups]

    served.gate.set()
    clock.now_s += SharingBounds.shared_s
    post.finish()
    assert [agent for agent, _ in handler.groups].count("heavy-1") == 1


def test_who_asks_quicker_than_he_is_answered_has_two_threads(open_post: Posts) -> None:
    handler, responder = Handler(), SlowResponder()
    handler.gate.set()
    post = open_post(turns_max=8, handler=handler, responder=responder, group_requests_max=1)
    sent = [post.send("hot") for _ in range(6)]
    wait_for(lambda: responder.telling == 2, "two groups that are being told")
    other = post.send("other")
    wait_for(lambda: responder.telling == 3, "the other agent's turn")
    assert len(handler.groups) == 3

    responder.gate.set()
    post.finish()
    assert responder.most == 3
    assert [request for request in handler.order if request != other] == sent
