"""Results are sent as soon as their entry is in the store; that they are stored is waited for at the turn's end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from celery import signals

from memrepo.errors import MemoryRepoError, WorkerFaultError
from memrepo.limits import KIB, Limits
from memrepo.routing import queue_name
from memrepo.wire import operations
from memrepo.wire.keys import OWNERS_KEY, record_key, unacked_key
from memrepo.wire.payload import Payload
from memrepo_worker.app import build_app
from memrepo_worker.group import Agent, Group, Outcome, Success
from memrepo_worker.observe import Counters, TurnTimes
from memrepo_worker.queues.consumer.responder import MARKED_AHEAD_MAX, Responder
from memrepo_worker.queues.consumer.task_request import RequestTicket
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.ahead import ResultsAhead
from memrepo_worker.queues.results.backend import ResultBackend
from memrepo_worker.queues.results.records import Waiting
from memrepo_worker.queues.results.scripts import FINISH
from memrepo_worker.queues.script_call import ScriptCall
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.trouble import WaitReason
from tests.support.jobs import present
from tests.support.posts import Note, Post
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

DATABASE = 8
SHARD, TOKEN = 5, "token-1"
AGENT = Agent("acme", "a")
TIMES = TurnTimes(0.0, 0.0)
ABOUT = SimpleNamespace(task="memrepo.commit", reply_to="")


@dataclass(eq=False)
class Job:
    """What the responder knows of a request that was executed."""

    backend: ResultBackend
    owned_shard: OwnedShard
    number: str
    id: str = field(default_factory=lambda: uuid4().hex)
    agent: Agent = AGENT
    memory: Agent = AGENT
    claim: None = None
    operation: Any = operations.COMMIT
    started_s: float | None = None
    reply_to: str = ""
    marked: ScriptCall | None = None
    prepared: ScriptCall | None = None
    sent: ResultsAhead | None = None
    told: list[str] = field(default_factory=list)

    def record_result(self, result: object) -> None:
        if isinstance(result, Payload):
            self.record_written(result)
        else:
            self.backend.store_result(self.id, result, "FAILURE", request=ABOUT)

    def record_written(self, payload: Payload) -> None:
        self.backend.store_written(self.id, payload, ABOUT)

    def finish(self, outcome: Outcome, _: float) -> None:
        self.told.append("done" if isinstance(outcome, Success) else "failed")

    def retry(self) -> None:
        self.told.append("retried")

    def forget(self) -> None:
        self.told.append("left")

    def give_back(self) -> None:
        self.told.append("given back")

    @property
    def record(self) -> Any:
        found = cast("bytes | None", self.backend.client.get(record_key(self.id)))
        return None if found is None else json.loads(found)


class WrittenPayloads:
    """Results are written as they are."""

    def encode_result(self, _job: object, _operation: object, outcome: Outcome) -> object:
        return outcome.payload if isinstance(outcome, Success) else outcome

    def remove(self, _jobs: object) -> None:
        """There is nothing beside a message."""


@pytest.fixture
def backend(broker: Valkey) -> ResultBackend:
    url = broker.database(DATABASE)
    backend: ResultBackend = build_app(WorkerSettings(broker_url=url, result_url=url)).backend
    backend.client.flushdb()
    backend.client.hset(OWNERS_KEY, str(SHARD), f"{TOKEN} w1")
    backend.client.script_load(
        FINISH.source
    )  # one that the server does not know runs when its answer is asked for
    return backend


@pytest.fixture
def owned_shard() -> OwnedShard:
    return OwnedShard(SHARD, TOKEN, 1e9)


@pytest.fixture
def responder(backend: ResultBackend) -> Responder:
    return Responder(backend, cast("Any", WrittenPayloads()), Limits(), None, "w1@host", Counters())


@pytest.fixture
def jobs(backend: ResultBackend, owned_shard: OwnedShard) -> list[Job]:
    """Two requests that this worker has, and that nobody has acknowledged."""
    made = [Job(backend, owned_shard, str(number)) for number in (1, 2)]
    for job in made:
        backend.client.hset(unacked_key(queue_name(SHARD)), job.number, "message")
        owned_shard.delivered.add(job.number)
    return made


def tickets(jobs: list[Job]) -> list[RequestTicket]:
    return [RequestTicket(cast("Any", job), job.agent, 10) for job in jobs]


def done(value: object = "made") -> Success:
    return Success(value, Payload(value))


def sent(responder: Responder, jobs: list[Job], *outcomes: Outcome) -> list[Outcome]:
    """Have outcomes prepared, and sent; return them."""
    responder.prepare_answers(tickets(jobs), outcomes)()
    return [*outcomes]


def unacknowledged(backend: ResultBackend) -> int:
    return backend.client.hlen(unacked_key(queue_name(SHARD)))


def scripts_run(backend: ResultBackend) -> int:
    stats = cast("dict[str, dict[str, int]]", backend.client.info("commandstats"))
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))


def test_they_are_stored_and_acknowledged_before_the_turn_is_over(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    sent(responder, jobs, done("one"), done("two"))

    wait_for(lambda: jobs[1].record, "the results")
    assert [job.record["result"] for job in jobs] == ["one", "two"]
    assert unacknowledged(backend) == 0
    assert [job.told for job in jobs] == [[], []]


def test_that_they_have_ended_is_told_once_the_answer_is_there_and_nothing_is_sent_twice(
    responder: Responder, backend: ResultBackend, jobs: list[Job], owned_shard: OwnedShard
) -> None:
    responder.settle(
        tickets(jobs[:1]), sent(responder, jobs[:1], done()), TIMES
    )  # the script is known by now
    before = scripts_run(backend)

    responder.settle(tickets(jobs[1:]), sent(responder, jobs[1:], done()), TIMES)

    assert scripts_run(backend) - before == 1
    assert [job.told for job in jobs] == [["done"], ["done"]]
    assert (owned_shard.delivered, jobs[1].sent) == (set(), None)


def test_a_lost_answer_has_all_done_again_which_changes_nothing(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    outcomes = sent(responder, jobs, done("one"), done("two"))
    ahead = jobs[0].sent
    assert ahead is not None
    ahead.call.abandon()

    responder.settle(tickets(jobs), outcomes, TIMES)

    assert [job.record["result"] for job in jobs] == ["one", "two"]
    assert unacknowledged(backend) == 0
    assert [job.told for job in jobs] == [["done"], ["done"]]


def test_what_is_prepared_and_not_sent_is_told_by_nobody(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    responder.prepare_answers(tickets(jobs), [done(), done()])

    assert ([job.record for job in jobs], unacknowledged(backend)) == ([None, None], 2)
    responder.settle(tickets(jobs), [done("one"), done("two")], TIMES)
    assert [job.record["result"] for job in jobs] == ["one", "two"]


def connections_lent(backend: ResultBackend) -> int:
    return len(backend.client.connection_pool._in_use_connections)


def test_what_is_prepared_has_its_connection_and_is_sent_over_that(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    send = responder.prepare_answers(tickets(jobs), [done("one"), done("two")])
    lent = connections_lent(backend)

    send()

    assert (lent, connections_lent(backend)) == (1, 1)
    responder.settle(tickets(jobs), [done("one"), done("two")], TIMES)
    assert [job.told for job in jobs] == [["done"], ["done"]]
    assert (connections_lent(backend), jobs[0].prepared) == (0, None)


def marked(backend: ResultBackend, job: Job) -> ScriptCall:
    """The mark that a job is started, as it is once that was answered."""
    waiting = [Waiting(job.id, None)]
    call = present(backend.begin_started(waiting, "w1"))
    backend.end_started(call, waiting, "w1")
    return call


def test_the_results_go_over_the_connection_of_the_mark(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    jobs[0].marked = marked(backend, jobs[0])

    send = responder.prepare_answers(tickets(jobs), [done("one"), done("two")])

    assert connections_lent(backend) == 1
    send()
    responder.settle(tickets(jobs), [done("one"), done("two")], TIMES)
    assert [job.record["result"] for job in jobs] == ["one", "two"]
    assert connections_lent(backend) == 0


@pytest.mark.parametrize("how", ["told at the end", "tried again later", "given back"])
def test_the_connection_of_a_mark_goes_back_where_nothing_is_prepared(
    responder: Responder, backend: ResultBackend, jobs: list[Job], how: str
) -> None:
    connection = backend.client.client_id()
    jobs[0].marked = marked(backend, jobs[0])

    match how:
        case "told at the end":
            responder.settle(tickets(jobs), [done(), done()], TIMES)
        case "tried again later":
            responder.retrying(tickets(jobs), WaitReason("the store is away", 1.0))
        case "given back":
            responder.abandon(tickets(jobs))

    assert connections_lent(backend) == 0
    assert backend.client.client_id() == connection


@pytest.mark.parametrize("how", ["told later", "prepared again", "tried again later", "given back"])
def test_what_is_prepared_and_never_sent_keeps_no_connection_and_ends_none(
    responder: Responder, backend: ResultBackend, jobs: list[Job], how: str
) -> None:
    connection = backend.client.client_id()
    responder.prepare_answers(tickets(jobs), [done(), done()])

    match how:
        case "told later":
            responder.settle(tickets(jobs), [done(), done()], TIMES)
        case "prepared again":
            responder.prepare_answers(tickets(jobs), [done(), done()])
            responder.abandon(tickets(jobs))
        case "tried again later":
            responder.retrying(tickets(jobs), WaitReason("the store is away", 1.0))
        case "given back":
            responder.abandon(tickets(jobs))

    assert (connections_lent(backend), jobs[0].prepared) == (0, None)
    assert backend.client.client_id() == connection


def test_a_shard_that_has_another_owner_is_left_to_that(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    backend.client.hset(OWNERS_KEY, str(SHARD), "token-2 w2")

    responder.settle(tickets(jobs), sent(responder, jobs, done(), done()), TIMES)

    assert [job.told for job in jobs] == [["left"], ["left"]]
    assert ([job.record for job in jobs], unacknowledged(backend)) == ([None, None], 2)


def test_an_outcome_that_is_another_in_the_end_leaves_what_was_told(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    sent(responder, jobs, done("one"), done("two"))

    responder.settle(tickets(jobs[:1]), [WorkerFaultError("gave up")], TIMES)
    responder.settle(tickets(jobs[1:]), [done("two")], TIMES)

    assert [job.record["result"] for job in jobs] == ["one", "two"]
    assert backend.client.ping()


def test_a_group_that_is_given_back_owes_no_answer(
    responder: Responder, backend: ResultBackend, jobs: list[Job]
) -> None:
    sent(responder, jobs, done(), done())

    responder.abandon(tickets(jobs))

    assert jobs[0].sent is None
    assert backend.client.echo("mine") == b"mine"  # over a connection that owes nobody an answer


class TestNothingIsSentAhead:
    """All is left to the end of the turn."""

    @pytest.mark.parametrize(
        "outcomes",
        [
            [done(), MemoryRepoError("no")],
            [done(), Success("not written yet")],
            [done(), Success("contents apart", Payload("made", (b"contents",)))],
            [done(), done("large" * 16 * KIB)],
        ],
    )
    def test_of_what_takes_more_than_one_step(
        self, responder: Responder, jobs: list[Job], outcomes: list[Outcome]
    ) -> None:
        sent(responder, jobs, *outcomes)

        assert jobs[0].sent is None

    def test_of_many(self, responder: Responder, backend: ResultBackend, owned_shard: OwnedShard) -> None:
        many = [Job(backend, owned_shard, str(number)) for number in range(MARKED_AHEAD_MAX + 1)]

        sent(responder, many, *[done()] * len(many))

        assert many[0].sent is None

    def test_of_several_shards(self, responder: Responder, jobs: list[Job]) -> None:
        jobs[1].owned_shard = OwnedShard(SHARD + 1, TOKEN, 1e9)

        sent(responder, jobs, done(), done())

        assert jobs[0].sent is None

    def test_where_somebody_hears_the_signals_of_celery(self, responder: Responder, jobs: list[Job]) -> None:
        def hear(**_: object) -> None:
            """Be there."""

        signals.task_success.connect(hear)
        try:
            sent(responder, jobs, done(), done())
        finally:
            signals.task_success.disconnect(hear)

        assert jobs[0].sent is None

    def test_where_results_and_messages_are_on_two_servers(
        self, backend: ResultBackend, jobs: list[Job]
    ) -> None:
        messages = cast("Any", object())
        payloads = cast("Any", WrittenPayloads())

        sent(Responder(backend, payloads, Limits(), messages, "w1", Counters()), jobs, done(), done())

        assert jobs[0].sent is None


class TestTheMailbox:
    def test_the_answers_of_a_whole_group_are_prepared_and_those_of_a_part_never(
        self, open_post: Callable[..., Post]
    ) -> None:
        prepared: list[list[str]] = []

        def prepare(notes: list[Note], _: object) -> Callable[[], None]:
            prepared.append([note.id for note in notes])
            return lambda: None

        def act(group: Group) -> None:
            outcomes = [Success(request.request_id) for request in group.requests]
            group.prepare_answers(outcomes)()
            group.prepare_answers(outcomes[1:])()

        post = open_post(turns_max=1)
        post.responder.prepare_answers = prepare  # type: ignore[method-assign, assignment] # noted here
        post.handler.act = act
        first = post.send("a")
        wait_for(lambda: post.handler.groups, "the first group")
        group = [post.send("a"), post.send("a")]
        post.finish()

        assert prepared == [[first], group]
        assert post.responder.order == [first, *group]
