"""Requests are marked as started while their turn begins; nothing is published or told before the answer is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, cast
from uuid import uuid4

import pytest
import redis

from memrepo.errors import WorkerFaultError
from memrepo.limits import Limits
from memrepo.redis.script import Script
from memrepo.wire.cancellation import cancel
from memrepo_worker.app import build_app
from memrepo_worker.group import Agent, Group, Success
from memrepo_worker.observe import Counters
from memrepo_worker.queues.consumer.responder import Responder
from memrepo_worker.queues.consumer.task_request import RequestTicket
from memrepo_worker.queues.results.backend import ResultBackend
from memrepo_worker.queues.script_call import ScriptCall, run_script
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.interface import UnavailableError
from tests.support.posts import Post
from tests.support.valkey import NO_RETRY, Valkey
from tests.support.waiting import wait_for

DATABASE = 9
AGENT = Agent("acme", "a")
SAY = Script("return ARGV[1]")
SAY_LATE = Script("for _ = 1, 10000000 do end return ARGV[1]")
"""Takes about 0.1 s."""


@pytest.fixture
def client(broker: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis("127.0.0.1", broker.port, db=DATABASE, max_connections=4, retry=NO_RETRY) as client:
        for script in (SAY, SAY_LATE):
            client.script_load(script.source)
        yield client


class TestAConnectionThatOwesAnAnswer:
    def test_it_is_closed_where_the_answer_is_not_waited_for(self, client: redis.Redis) -> None:
        run_script(client, SAY, [], ["before"])

        ScriptCall(client, SAY_LATE, [], ["late"]).send().abandon()

        assert run_script(client, SAY, [], ["mine"]) == b"mine"

    def test_it_is_closed_where_the_answer_does_not_come_in_time(
        self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def wait_too_long(*_: object, **__: object) -> object:
            raise redis.TimeoutError

        call = ScriptCall(client, SAY_LATE, [], ["late"]).send()
        with monkeypatch.context() as patches:
            patches.setattr(vars(call)["_connection"], "read_response", wait_too_long)
            with pytest.raises(redis.TimeoutError):
                call.answer()

        assert run_script(client, SAY, [], ["mine"]) == b"mine"
        with pytest.raises(redis.ConnectionError):
            call.answer()

    def test_others_are_answered_over_their_own_meanwhile(self, client: redis.Redis) -> None:
        calls = [ScriptCall(client, SAY, [], [number]).send() for number in range(3)]

        assert run_script(client, SAY, [], ["mine"]) == b"mine"
        assert [call.answer() for call in reversed(calls)] == [b"2", b"1", b"0"]

    def test_hundreds_of_threads_that_end_leave_no_connection_behind(self, client: redis.Redis) -> None:
        answers: list[bytes] = []
        for number in range(300):  # each asks once, and ends
            thread = Thread(target=lambda: answers.append(run_script(client, SAY, [], ["mine"])))
            thread.start()
            if number % 3 == 0:
                thread.join()
            else:
                thread.join(10)

        assert answers == [b"mine"] * 300

    def test_a_refusal_is_raised_and_the_connection_goes_on(self, client: redis.Redis) -> None:
        with pytest.raises(redis.ResponseError, match="no such luck"):
            run_script(client, Script("return redis.error_reply('no such luck')"), [], [])

        connected = client.info("clients")["connected_clients"]
        assert run_script(client, SAY, [], ["mine"]) == b"mine"
        assert client.info("clients")["connected_clients"] <= connected  # others may have ended meanwhile

    def test_one_that_was_answered_waits_for_no_other_answer(self, client: redis.Redis) -> None:
        call = ScriptCall(client, SAY, [], ["mine"]).send()
        call.answer(keeps_connection=True)

        with pytest.raises(redis.ConnectionError):
            call.answer()

    def test_one_that_was_answered_may_keep_its_connection_for_another(self, client: redis.Redis) -> None:
        first, second = ScriptCall(client, SAY, [], ["one"]), ScriptCall(client, SAY, [], ["two"])
        lent = client.connection_pool._in_use_connections

        assert first.send().answer(keeps_connection=True) == b"one"
        kept = set(lent)
        second.take_connection(first)

        assert (len(kept), lent) == (1, kept)
        assert second.send().answer() == b"two"
        first.abandon()
        assert not lent

    def test_a_server_that_has_forgotten_a_script_is_told_it_again(self, client: redis.Redis) -> None:
        assert run_script(client, Script(f"return '{uuid4().hex}' .. ARGV[1]"), [], ["mine"]).endswith(
            b"mine"
        )


@dataclass(eq=False)
class Job:
    """What the responder knows of a request that came whole with its message."""

    id: str = field(default_factory=lambda: uuid4().hex)
    reply_to: str | None = None
    claim: None = None
    agent: Agent = AGENT
    is_at_hand: bool = True
    is_overdue: bool = False
    mark: ScriptCall | None = None
    marked: ScriptCall | None = None
    marked_s: float | None = None
    before: str = ""
    number: str = "1"
    owned_shard: Any = None
    told: list[str] = field(default_factory=list)

    def open(self, *_: object) -> Any:
        return self

    def start(self, _: int) -> None:
        self.told.append("started")

    def drop(self) -> None:
        self.told.append("dropped")


class Apart:
    """A broker that is another server: it takes every acknowledgement."""

    def acknowledge(self, *_: object) -> bool:
        return True


@dataclass
class Shard:
    delivered: set[str] = field(default_factory=set)


@pytest.fixture
def backend(broker: Valkey) -> ResultBackend:
    url = broker.database(DATABASE)
    backend: ResultBackend = build_app(WorkerSettings(broker_url=url, result_url=url)).backend
    return backend


@pytest.fixture
def responder(backend: ResultBackend) -> Responder:
    payloads: Any = type("None_", (), {"remove": lambda *_: None})()
    return Responder(backend, payloads, Limits(), cast("Any", Apart()), "w1@host", Counters())


def tickets(*jobs: Job) -> list[RequestTicket]:
    for job in jobs:
        job.owned_shard = job.owned_shard or Shard()
    return [RequestTicket(cast("Any", job), job.agent, 10) for job in jobs]


class TestTheResponder:
    def test_that_a_task_has_started_is_told_after_the_answer(self, responder: Responder) -> None:
        job = Job()

        begun = responder.begin(tickets(job))

        assert (len(begun), job.told) == (1, [])
        assert responder.confirm(begun) == begun
        assert (job.told, job.mark, job.before) == (["started"], None, "")

    def test_what_was_cancelled_is_dropped_and_the_rest_runs(
        self, responder: Responder, backend: ResultBackend
    ) -> None:
        gone, runs = Job(), Job()
        assert cancel(backend.client, gone.id, 1e9)

        left = responder.confirm(responder.begin(tickets(gone, runs)))

        assert [one.id for one in left] == [runs.id]
        assert (gone.told, runs.told) == (["dropped"], ["started"])

    def test_a_lost_answer_is_asked_for_again(
        self, responder: Responder, broker: Valkey, backend: ResultBackend
    ) -> None:
        job = Job()
        begun = responder.begin(tickets(job))
        assert job.mark is not None
        job.mark.abandon()

        assert responder.confirm(begun) == begun
        assert job.told == ["started"]
        assert not cancel(backend.client, job.id, 1e9)

    def test_a_fault_in_telling_that_it_runs_keeps_no_connection_and_the_next_try_asks_again(
        self, responder: Responder, backend: ResultBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        responder.confirm(responder.begin(tickets(Job())))  # from here on the server knows the script
        job = Job()
        begun = responder.begin(tickets(job))
        pool = backend.client.connection_pool
        lent = len(pool._in_use_connections)

        def fail(_: int) -> None:
            raise MemoryError

        with monkeypatch.context() as patches:
            patches.setattr(job, "start", fail)
            with pytest.raises(MemoryError):
                responder.confirm(begun)

        assert len(pool._in_use_connections) == lent - 1
        assert responder.confirm(begun) == begun
        assert (job.told, job.mark) == (["started"], None)

    def test_one_whose_body_is_elsewhere_is_marked_before_it_is_opened(self, responder: Responder) -> None:
        job = Job(is_at_hand=False)
        responder._payloads.fetch = lambda _: None  # type: ignore[method-assign, assignment, return-value]

        begun = responder.begin(tickets(job))

        assert (job.mark, job.told) == (None, ["started"])
        assert responder.confirm(begun) == begun


class TestTheMailbox:
    def test_what_turns_out_to_be_cancelled_is_published_by_no_try(
        self, open_post: Callable[..., Post]
    ) -> None:
        published: list[list[str]] = []

        def publish(group: Group) -> None:
            group.confirm()
            published.append([request.request_id for request in group.requests])

        post = open_post(turns_max=1)
        post.handler.act = publish
        first, gone, last = post.send("a"), post.send("b"), post.send("b")
        post.responder.ended = {gone}
        post.finish()

        assert published == [[first], [last]]
        assert post.responder.order == [first, last]

    def test_where_all_are_cancelled_nothing_is_told(self, open_post: Callable[..., Post]) -> None:
        post = open_post(turns_max=1)
        gone = post.send("a")
        post.responder.ended = {gone}
        post.finish()

        assert post.responder.answers == {}
        assert isinstance(post.responder.answers.get(post.send("a")), Success | None)
        post.finish()

    def test_a_turn_that_fails_before_it_asks_leaves_no_answer_owed(
        self, open_post: Callable[..., Post]
    ) -> None:
        failures = iter([UnavailableError("away"), ZeroDivisionError()])

        def fail(_: Group) -> None:
            if error := next(failures, None):
                raise error

        post = open_post(turns_max=1)
        post.handler.act = fail
        sent = post.send("a")
        post.finish()

        assert post.responder.confirmed == [sent]  # once, and before the pause
        assert isinstance(post.responder.answers[sent], Success)

    def test_a_fault_in_asking_keeps_the_requests_place(self, open_post: Callable[..., Post]) -> None:
        post = open_post(turns_max=1)
        confirm, faults = post.responder.confirm, iter([ZeroDivisionError()])

        def confirming(asked: Any) -> Any:
            if fault := next(faults, None):
                raise fault
            return confirm(asked)

        post.responder.confirm = confirming  # type: ignore[method-assign, assignment] # a fault that nothing else makes
        ids = [post.send("a") for _ in range(3)]
        post.finish()

        assert post.responder.order == ids

    def test_no_request_is_told_another_ones_outcome_after_faults_in_asking(
        self, open_post: Callable[..., Post]
    ) -> None:
        """Who was told a verdict has a result, so is dropped where it is asked again."""
        post = open_post(turns_max=1)
        first = post.send("a")
        wait_for(lambda: post.handler.groups, "the first group")
        faults = iter([ZeroDivisionError()] * 6)

        def confirming(asked: Any) -> Any:
            if asked[0].id != first and (fault := next(faults, None)):
                raise fault
            return [ticket for ticket in asked if ticket.id not in post.responder.answers]

        post.responder.confirm = confirming  # type: ignore[method-assign, assignment] # as above
        post.handler.act = lambda group: group.confirm()
        ids = [post.send("a") for _ in range(3)]
        post.finish()

        answers = post.responder.answers
        assert post.responder.order == [first, *ids]
        assert [type(answers[one]) for one in ids] == [WorkerFaultError] * 3
