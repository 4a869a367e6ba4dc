"""Where the store is near, a few turns work at a time; whoever waits for long keeps nobody else from beginning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from time import sleep

import pytest

from memrepo_worker.group import Group
from memrepo_worker.observe import store_wait
from memrepo_worker.scheduling import places
from memrepo_worker.threads.giving_way import will_wait
from tests.support.posts import Handler, Post
from tests.support.waiting import wait_for

TURNS_MAX = 16
AGENTS = [f"agent-{number}" for number in range(2 * TURNS_MAX)]


@dataclass
class Work:
    """What a turn does: it waits for the store for so long; some agents' turns wait in another way, for the gate."""

    store_s: float = 0.0
    stuck: set[str] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    how: Callable[[Work], None] = lambda work: work.wait()
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_work: int = 0
    most: int = 0

    def __call__(self, group: Group) -> None:
        with self.lock:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
        try:
            if self.store_s:
                with store_wait():
                    sleep(self.store_s)
            if group.agent.agent_id in self.stuck:
                self.how(self)
        finally:
            with self.lock:
                self.at_work -= 1

    def wait(self) -> None:
        assert self.gate.wait(20)


def in_the_store(work: Work) -> None:
    with store_wait():
        work.wait()


def after_saying_so(work: Work) -> None:
    will_wait()
    work.wait()


@contextmanager
def known(open_post: Callable[..., Post], work: Work, **bounds: int) -> Iterator[Post]:
    """Give a mailbox that has served each agent some times, and so knows how far the store is."""
    handler = Handler(act=work)
    handler.gate.set()
    post = open_post(turns_max=TURNS_MAX, handler=handler, **bounds)
    try:
        for _ in range(5):
            everybody(post)
        yield post
    finally:
        work.gate.set()


def everybody(post: Post, agents: Sequence[str] = AGENTS) -> None:
    sent = [post.send(agent) for agent in agents]
    assert post.mailbox.drain(lambda agent: agent.agent_id in agents, 20)
    assert post.responder.answers.keys() >= set(sent)


def limit(post: Post) -> int:
    return post.mailbox._running.places.limit


def serve_until_all_may_work(post: Post) -> None:
    """Serve each agent again and again: a turn that the machine made slow counts for some of those after it."""
    for _ in range(20):
        if limit(post) == TURNS_MAX:
            return
        everybody(post)
    pytest.fail(f"only {limit(post)} turns work at a time")


def test_where_turns_wait_for_little_few_turns_work_at_a_time(
    open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "HELD_S_MAX", 3600.0)
    work = Work()
    with known(open_post, work) as post:
        few = limit(post)
        assert few < TURNS_MAX
        work.most, work.stuck = 0, set(AGENTS)
        sent = [post.send(agent) for agent in AGENTS]
        wait_for(lambda: work.at_work == few, "as many to work as may")

        work.gate.set()
        wait_for(lambda: post.responder.answers.keys() >= set(sent), "all to be served")
        assert work.most == few


def test_with_a_store_30_ms_away_all_work_at_a_time(
    open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(store_s=0.030)
    with known(open_post, work) as post:
        serve_until_all_may_work(post)
        monkeypatch.setattr(places, "HELD_S_MAX", 3600.0)
        work.store_s, work.stuck = 0.0, set(AGENTS)
        sent = [post.send(agent) for agent in AGENTS]
        wait_for(lambda: work.at_work == TURNS_MAX, "as many to work as there are threads")

        work.gate.set()
        wait_for(lambda: post.responder.answers.keys() >= set(sent), "all to be served")


@pytest.mark.parametrize("how", [in_the_store, Work.wait, after_saying_so])
def test_whoever_waits_for_long_keeps_nobody_from_beginning(
    open_post: Callable[..., Post], how: Callable[[Work], None]
) -> None:
    work = Work(how=how)
    with known(open_post, work) as post:
        work.stuck = set(AGENTS[: TURNS_MAX - 1])
        stuck = [post.send(agent) for agent in sorted(work.stuck)]
        everybody(post, AGENTS[TURNS_MAX:])
        assert not post.responder.answers.keys() & set(stuck)

        work.gate.set()
        wait_for(lambda: post.responder.answers.keys() >= set(stuck), "the others, too")


def test_whoever_says_that_he_waits_lets_others_begin_without_a_look(
    open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "HELD_S_MAX", 3600.0)
    work = Work(how=after_saying_so)
    with known(open_post, work) as post:
        work.stuck = set(AGENTS[: TURNS_MAX - 1])
        for agent in sorted(work.stuck):
            post.send(agent)
        everybody(post, AGENTS[TURNS_MAX:])


def test_beside_as_many_hanging_stores_as_there_are_threads_others_are_served(
    open_post: Callable[..., Post],
) -> None:
    work = Work(how=in_the_store)
    with known(open_post, work, hanging_max=TURNS_MAX) as post:
        work.stuck = set(AGENTS[:TURNS_MAX])
        stuck = [post.send(agent) for agent in sorted(work.stuck)]
        everybody(post, AGENTS[TURNS_MAX:])
        assert not post.responder.answers.keys() & set(stuck)


def test_everything_is_served_once_and_in_each_agents_order_whatever_turns_wait_for(
    open_post: Callable[..., Post],
) -> None:
    random = Random(7)

    def anyhow(_: Work) -> None:
        kind = random.random()
        if kind < 0.05:
            will_wait()
        with store_wait():
            sleep(0.025 if kind < 0.1 else 0.002 * kind)

    work = Work(how=anyhow, stuck=set(AGENTS))
    post = open_post(turns_max=TURNS_MAX, handler=Handler(act=work), group_requests_max=3)
    post.handler.gate.set()
    sent: dict[str, list[str]] = {agent: [] for agent in AGENTS}
    for _ in range(600):
        agent = random.choice(AGENTS)
        sent[agent].append(post.send(agent))

    post.finish()

    assert post.handler.twice == []
    assert work.most <= TURNS_MAX
    for agent, ids in sent.items():
        assert [one for name, some in post.handler.groups if name == agent for one in some] == ids
    assert sorted(post.responder.answers) == sorted(one for ids in sent.values() for one in ids)
