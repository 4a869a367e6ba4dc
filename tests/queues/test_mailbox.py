from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from memrepo.errors import RepoNotFoundError, WorkerFaultError
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.observe import store_wait
from memrepo_worker.scheduling import turns
from memrepo_worker.store.interface import RefusedError, UnavailableError
from tests.support.posts import Note, Post
from tests.support.waiting import wait_for
from tests.support.writers import delete


def test_a_group_is_bounded_by_count_and_by_bytes(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1, group_requests_max=3, group_bytes_max=100)
    first = post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    few = [post.send("a") for _ in range(4)]
    big = [post.send("a", 90), post.send("a", 500), post.send("a")]

    post.finish()

    assert [ids for _, ids in post.handler.groups] == [[first], few[:3], [few[3], big[0]], [big[1]], [big[2]]]


def test_a_delete_is_alone_in_its_group(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1)
    first = post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    before = [post.send("a") for _ in range(2)]
    deletion = Note(Agent("acme", "a"), delete())
    post.mailbox.park(deletion)
    after = [post.send("a") for _ in range(2)]

    post.finish()

    assert [ids for _, ids in post.handler.groups] == [[first], before, [deletion.id], after]


def test_after_its_group_an_agent_goes_to_the_end_of_the_line(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1, group_requests_max=2)
    post.send("hot")
    wait_for(lambda: post.handler.groups, "the first group")
    for _ in range(6):
        post.send("hot")
    post.send("b")
    post.send("c")

    post.finish()

    assert [agent for agent, _ in post.handler.groups] == ["hot", "b", "c", "hot", "hot", "hot"]


def test_at_most_one_group_of_an_agent_is_under_way(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=4, group_requests_max=1)
    post.handler.gate.set()
    ids = [post.send(f"a{number % 3}") for number in range(300)]

    post.finish()

    assert set(post.responder.answers) == set(ids)
    assert post.handler.twice == []
    for agent in range(3):
        mine = [ids_[0] for name, ids_ in post.handler.groups if name == f"a{agent}"]
        assert mine == ids[agent::3]


def test_parked_requests_hold_no_thread(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=2)
    for _ in range(50):
        post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    post.send("b")

    wait_for(lambda: len(post.handler.groups) == 2, "the other agent's group to begin meanwhile")
    post.finish()


@pytest.mark.parametrize("error", [UnavailableError("s3://b at h: away"), RefusedError("s3://b at h: away")])
def test_while_the_store_is_away_the_same_requests_are_tried_again(
    open_post: Callable[..., Post], error: Exception
) -> None:
    post = open_post(turns_max=1)
    failures = iter(range(20))

    def fail_often(_: Group) -> None:
        if next(failures, None) is not None:
            raise error

    post.handler.act = fail_often
    first = post.send("a")

    post.finish()

    assert [ids for _, ids in post.handler.groups] == [[first]] * 21
    assert post.responder.retried == [first] * 20
    assert {waiting.reason for waiting in post.responder.waited_for} == {"s3://b at h: away"}
    assert len({waiting.since_s for waiting in post.responder.waited_for}) == 1
    assert post.responder.answers == {first: Success(first)}


def test_a_request_that_always_fails_gets_a_verdict_and_the_others_go_on(
    open_post: Callable[..., Post],
) -> None:
    post = open_post(turns_max=1)
    poison: list[str] = []

    def fail_on_poison(group: Group) -> None:
        if any(request.request_id in poison for request in group.requests):
            raise ZeroDivisionError

    post.handler.act = fail_on_poison
    post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    ids = [post.send("a") for _ in range(3)]
    poison.append(ids[1])
    post.finish()

    error = post.responder.answers[ids[1]]
    assert type(error) is WorkerFaultError
    assert error.details == {"request_id": ids[1], "worker": "w1@host"}
    assert f"look for {ids[1]} in the log of w1@host" in error.message
    assert [post.responder.answers[ids[index]] for index in (0, 2)] == [Success(ids[0]), Success(ids[2])]
    tries = [group for _, group in post.handler.groups[1:]]
    assert tries == [ids] * 3 + [[ids[0]]] + [[ids[1]]] * 3 + [[ids[2]]]


def test_a_cancelled_request_is_left_out(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1)
    post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    kept, cancelled = post.send("a"), post.send("a")
    post.responder.cancelled.add(cancelled)

    post.finish()

    assert post.handler.groups[1:] == [("a", [kept])]


def test_the_mailbox_is_full_by_bytes_until_requests_are_settled(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1, parked_bytes_max=100)
    post.send("a", 99)
    before = post.mailbox.full
    post.send("a", 1)
    then = post.mailbox.full

    post.finish()

    assert (before, then, post.mailbox.full) == (False, True, False)


def test_what_waits_can_be_withdrawn_in_order_while_what_runs_goes_on(open_post: Callable[..., Post]) -> None:
    post = open_post(turns_max=1)
    running = post.send("a")
    wait_for(lambda: post.handler.groups, "the first group")
    waiting = [post.send("a"), post.send("a")]
    staying = post.send("b")

    withdrawn = post.mailbox.withdraw(lambda agent: agent.agent_id == "a")
    post.finish()

    assert [ticket.id for ticket in withdrawn] == waiting
    assert set(post.responder.answers) == {running, staying}


def test_stopping_begins_no_group_and_abandons_what_waits_for_the_store(
    open_post: Callable[..., Post],
) -> None:
    post = open_post(turns_max=1)

    def fail(_: Group) -> None:
        raise UnavailableError("x")

    post.handler.act = fail
    post.handler.gate.set()
    stuck = post.send("a")
    wait_for(lambda: post.responder.retried, "the first retry")
    post.send("b")

    post.mailbox.stop()

    wait_for(lambda: post.responder.abandoned, "the group to be abandoned")
    assert post.responder.abandoned == [stuck]
    assert post.mailbox.unsettled(lambda _: True) == 1
    assert {agent for agent, _ in post.handler.groups} == {"a"}


def test_a_turn_that_fails_by_a_fault_of_ours_is_found_in_the_log_by_its_requests(
    open_post: Callable[..., Post], caplog: pytest.LogCaptureFixture
) -> None:
    post = open_post(turns_max=1)
    post.responder.broken = True
    first = post.send("a")
    post.finish()

    records = [record for record in caplog.records if record.__dict__.get("event") == "turn.fault"]
    assert len(records) == 3
    for record in records:
        assert record.levelname == "ERROR"
        assert record.__dict__["fields"] == {"agent": "acme/a", "request_ids": [first], "requests": 1}
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        assert "SECRET-CONTENT" not in record.getMessage()
    assert type(post.responder.answers[first]) is WorkerFaultError


class TestWaiting:
    """Waiting for the store holds no thread, and keeps the agent's place."""

    @pytest.mark.parametrize("error", [UnavailableError("away"), RefusedError("403")])
    def test_a_further_agent_begins_at_once_beside_many_whose_store_does_not_answer(
        self, open_post: Callable[..., Post], error: Exception
    ) -> None:
        post = open_post(turns_max=2)
        threads_before = threading.active_count()

        def refuse(group: Group) -> None:
            if group.agent.agent_id.startswith("stuck"):
                raise error

        post.handler.act = refuse
        post.handler.gate.set()
        stuck = [post.send(f"stuck-{number}") for number in range(20)]
        wait_for(lambda: set(post.responder.retried) == set(stuck), "all of them to wait")
        healthy = [post.send("healthy") for _ in range(5)]

        wait_for(lambda: set(healthy) <= post.responder.answers.keys(), "the healthy agent's answers")
        assert set(post.responder.answers) == set(healthy)
        assert threading.active_count() <= threads_before + 2 + 1  # the turns' threads and the timer's

    def test_tries_that_hang_leave_half_of_the_threads_to_others(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=4)
        hang, hanging, tried = threading.Event(), threading.Semaphore(0), set[Agent]()

        def act(group: Group) -> None:
            if group.agent.agent_id.startswith("stuck"):
                if group.agent in tried:
                    hanging.release()
                    assert hang.wait(10)
                tried.add(group.agent)
                raise UnavailableError("no answer within the time-out")

        post.handler.act = act
        post.handler.gate.set()
        for number in range(20):
            post.send(f"stuck-{number}")
        assert hanging.acquire(timeout=10)
        assert hanging.acquire(timeout=10)
        healthy = post.send("healthy")

        wait_for(lambda: healthy in post.responder.answers, "the healthy agent's answer")
        assert not hanging.acquire(timeout=0.05)
        hang.set()

    def test_first_tries_that_begin_to_hang_leave_threads_to_agents_whose_store_has_answered(
        self, open_post: Callable[..., Post], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(turns, "HANGS_S", 3600.0)
        post = open_post(turns_max=4, hanging_max=4)
        hang, hanging = threading.Event(), threading.Semaphore(0)

        def act(group: Group) -> None:
            if group.agent.agent_id.startswith("stuck"):
                with store_wait():
                    hanging.release()
                    assert hang.wait(10)

        post.handler.act = act
        post.handler.gate.set()
        before = post.send("healthy")
        wait_for(lambda: before in post.responder.answers, "its store to have answered")
        stuck = [post.send(f"stuck-{number}") for number in range(5)]
        healthy = [post.send("healthy") for _ in range(5)]

        wait_for(lambda: set(healthy) <= post.responder.answers.keys(), "the healthy agent's answers")
        assert [hanging.acquire(timeout=10) for _ in range(3)] == [True] * 3
        assert not hanging.acquire(blocking=False), "the others are held back until these are seen to hang"
        monkeypatch.setattr(turns, "HANGS_S", 0.0)
        assert [hanging.acquire(timeout=10) for _ in range(2)] == [True] * 2
        hang.set()
        wait_for(lambda: set(stuck) <= post.responder.answers.keys(), "all to be served")

    def test_later_requests_of_an_agent_that_waits_stay_behind(self, open_post: Callable[..., Post]) -> None:
        post = open_post(turns_max=2)
        away = threading.Event()
        away.set()

        def act(_: Group) -> None:
            if away.is_set():
                raise UnavailableError("away")

        post.handler.act = act
        post.handler.gate.set()
        first = post.send("a")
        wait_for(lambda: post.responder.retried, "the first to wait")
        later = [post.send("a") for _ in range(3)]
        wait_for(lambda: len(post.responder.retried) > 3, "further tries")
        assert {tuple(ids) for _, ids in post.handler.groups} == {(first,)}
        away.clear()
        post.finish()

        assert post.handler.order == [first, *later]

    def test_a_hand_over_takes_what_waits_for_its_next_try_first_and_in_order(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=1, group_requests_max=2)
        post.handler.act = lambda _: (_ for _ in ()).throw(UnavailableError("away"))
        ids = [post.send("a") for _ in range(5)]
        post.handler.gate.set()
        wait_for(lambda: post.responder.retried, "the group to wait")

        def all_of_it() -> list[str]:
            return [ticket.id for ticket in post.mailbox.withdraw(lambda _: True)]

        withdrawn = wait_for(all_of_it, "no try to be under way")
        while rest := all_of_it():
            withdrawn = rest + withdrawn
        assert sorted(withdrawn) == sorted(ids)
        wait_for(lambda: post.mailbox.unsettled(lambda _: True) == 0, "nothing to be in hand")

    def test_a_try_that_fails_after_its_shard_was_given_up_is_abandoned(
        self, open_post: Callable[..., Post]
    ) -> None:
        ours = threading.Event()
        ours.set()
        post = open_post(turns_max=1, is_ours=lambda _: ours.is_set())
        post.handler.act = lambda _: (_ for _ in ()).throw(UnavailableError("away"))
        stuck = post.send("a")
        wait_for(lambda: post.handler.groups, "the try")
        ours.clear()
        assert post.mailbox.withdraw(lambda _: True) == []
        post.finish()

        assert post.responder.abandoned == [stuck]
        assert post.responder.answers == {}


class TestFaultsOfOurs:
    """What fails by a fault of ours keeps its place, and ends in a verdict."""

    def test_nothing_of_its_agent_passes_what_cannot_be_begun(self, open_post: Callable[..., Post]) -> None:
        post = open_post(turns_max=2)
        begin, failures = post.responder.begin, iter(range(2))

        def begin_late(tickets: Sequence[Note]) -> list[Note]:
            if next(failures, None) is not None:
                raise ZeroDivisionError
            return begin(tickets)

        post.responder.begin = begin_late  # type: ignore[method-assign] # a fault that nothing else makes
        post.handler.gate.set()
        ids = [post.send("a")]
        ids += [post.send("a") for _ in range(3)]
        post.finish()

        assert post.handler.order == ids
        assert all(isinstance(outcome, Success) for outcome in post.responder.answers.values())

    def test_a_verdict_is_told_before_the_agents_next_request_begins(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=2, group_requests_max=1)
        failures = iter(range(5))
        post.responder.unable = lambda outcomes: (
            isinstance(outcomes[0], WorkerFaultError) and next(failures, None) is not None
        )
        poison: list[str] = []

        def act(group: Group) -> None:
            if group.requests[0].request_id in poison:
                raise ZeroDivisionError
            assert set(poison) <= post.responder.answers.keys()

        post.handler.act = act
        poison.append(post.send("a"))
        later = post.send("a")
        post.finish()

        assert post.responder.order == [poison[0], later]
        assert post.responder.answers[later] == Success(later)

    def test_so_is_that_there_is_no_memory_as_nothing_remembers_it(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=2, group_requests_max=1)
        failures = iter(range(2))
        post.responder.unable = lambda outcomes: (
            isinstance(outcomes[0], RepoNotFoundError) and next(failures, None) is not None
        )
        answered: list[Outcome] = [RepoNotFoundError("none"), Success("created")]
        post.mailbox._handler = lambda group: [answered.pop(0)]
        ids = [post.send("a"), post.send("a")]
        post.finish()

        assert post.responder.order == ids

    def test_no_verdict_is_given_while_an_entry_may_be_on_its_way(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=1)
        tries = iter(range(100))

        def act(group: Group) -> None:
            number = next(tries)
            if number == 0:
                group.create.begin(7)
                raise UnavailableError("the answer was lost")
            if number < 10:
                raise ZeroDivisionError
            group.create.settle(7)

        post.handler.act = act
        first = post.send("a")
        post.finish()

        assert len(post.handler.groups) == 11
        assert post.responder.answers == {first: Success(first)}
        assert "a fault of the worker (ZeroDivisionError)" in post.responder.waited_for[-1].reason

    def test_an_outcome_that_cannot_be_told_is_told_as_a_fault_and_the_others_as_they_are(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=1)
        post.send("a")
        wait_for(lambda: post.handler.groups, "the first group")
        ids = [post.send("a") for _ in range(3)]
        post.responder.unable = lambda outcomes: Success(ids[1]) in outcomes
        post.finish()

        assert [post.responder.answers[ids[number]] for number in (0, 2)] == [
            Success(ids[0]),
            Success(ids[2]),
        ]
        assert type(post.responder.answers[ids[1]]) is WorkerFaultError

    def test_what_cannot_be_told_in_any_way_is_left_to_the_next_owner_and_the_others_are_told(
        self, open_post: Callable[..., Post]
    ) -> None:
        post = open_post(turns_max=1)
        post.send("a")
        wait_for(lambda: post.handler.groups, "the first group")
        ids = [post.send("a") for _ in range(3)]
        post.responder.unable = lambda outcomes: (
            Success(ids[1]) in outcomes or isinstance(outcomes[0], WorkerFaultError)
        )
        post.finish()

        assert [one for one in ids if one in post.responder.answers] == [ids[0], ids[2]]
        assert post.responder.abandoned == [ids[1]]


def test_no_more_threads_are_woken_than_there_are_agents_to_serve(open_post: Callable[..., Post]) -> None:
    """Who delivers is quicker than a thread that was woken."""
    coming: list[Callable[[], None]] = []
    post = open_post(turns_max=16, submit=coming.append)
    for _ in range(20):
        post.send("a")
    assert len(coming) == 1
    for agent in "bc":
        post.send(agent)
    assert len(coming) == 3

    post.handler.gate.set()
    coming.pop()()
    assert post.mailbox.unsettled(lambda _: True) == 0  # one alone serves all, if the others are late
    for work in coming:
        work()
    post.send("d")
    assert len(coming) == 3
    coming.pop()()
    assert post.mailbox.unsettled(lambda _: True) == 0
