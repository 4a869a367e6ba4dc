"""Whether a job was cancelled is decided at its record, once: who is told "cancelled" was not executed, ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.app.task import Context
from celery.contrib.abortable import AbortableAsyncResult
from hypothesis import given, settings
from hypothesis import strategies as st

from memrepo import JobCancelledError, MemoryRepos, Settings
from memrepo.clock import system_clock
from memrepo.errors import StoreUnavailableError
from memrepo.limits import HORIZON_S, RECORD_KEPT_S
from memrepo.routing import shard_of
from memrepo.wire.cancellation import cancel
from memrepo.wire.keys import OWNERS_KEY, unacked_key
from memrepo_worker.app import build_app
from memrepo_worker.queues.leases.leases import read_owners
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.backend import ResultBackend
from memrepo_worker.queues.results.records import Waiting
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER, SHARDS
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, fleet

DATABASE = 5
OWN, OTHER = "w0", "w1"
STEPS = (
    "cancel",
    "celery's revoke",
    "celery's abort",
    "begin",
    "execute",
    "retry",
    "lose the body",
    "finish",
    "take over",
    "result expires",
    "deliver again",
)


@pytest.fixture(scope="module")
def backend(broker: Valkey) -> ResultBackend:
    url = broker.database(DATABASE)
    backend: ResultBackend = build_app(WorkerSettings(broker_url=url, result_url=url)).backend
    return backend


class OneJob:
    """The life of one commit among two workers, step by step against the real scripts."""

    def __init__(self, backend: ResultBackend) -> None:
        self.id = str(uuid4())
        self.told_cancelled = self.executed = False
        self.delivered = True  # there is a message in the queue or with a worker
        self.owner = OWN
        self.begun: dict[str, str] = {}
        """Which workers are at it, and what state each has found: also a paused one that owns the shard no more."""
        self.has_done: set[str] = set()
        self._backend = backend
        self._key = f"celery-task-meta-{self.id}"
        self._tokens = {OWN: uuid4().hex, OTHER: uuid4().hex}

    def step(self, name: str) -> None:
        match name:
            case "cancel":
                self.told_cancelled |= cancel(self._backend.client, self.id, system_clock())
            case "celery's revoke":
                self._backend.mark_as_revoked(self.id, "revoked")
                self.told_cancelled |= self.state() == "REVOKED"
            case "celery's abort":
                AbortableAsyncResult(self.id, backend=self._backend, app=self._backend.app).abort()
                self.told_cancelled |= self.state() == "REVOKED"
                assert self.state() != "ABORTED"
            case "begin" if self.delivered and self.owner not in self.begun:
                self._begin()
            case "take over":
                self.owner = OTHER if self.owner == OWN else OWN
                self._tokens[self.owner] = uuid4().hex
            case "result expires" if self.state() in ("SUCCESS", "FAILURE"):
                self._backend.client.delete(self._key)
            case "deliver again":
                self.delivered = True
            case _:
                for worker in list(self.begun)[:1]:
                    self._go_on(name, worker)

    def state(self) -> str:
        stored = self._backend.client.get(self._key)
        return json.loads(stored)["status"] if stored else ""

    def _begin(self) -> None:
        [found] = self._backend.store_started([Waiting(self.id, None)], self.owner)
        if found in ("SUCCESS", "FAILURE", "REVOKED"):
            self.delivered = False
        else:
            self.begun[self.owner] = found

    def _go_on(self, name: str, worker: str) -> None:
        if name == "execute":
            self.executed = True
            self.has_done.add(worker)
        elif name == "retry":
            self._backend.store_retrying([Waiting(self.id, None)], StoreUnavailableError("away"))
        elif name == "lose the body" and worker not in self.has_done:
            self._backend.take_back_started(Waiting(self.id, None), worker, self.begun.pop(worker))
            self.delivered = worker != self.owner and self.delivered
        elif name == "finish" and worker in self.has_done:
            self._finish(worker)

    def _finish(self, worker: str) -> None:
        with self._backend.collecting() as results:
            self._backend.store_result(self.id, None, "SUCCESS", request=Context(task="memrepo.commit"))
        self._backend.client.hset(OWNERS_KEY, "0", f"{self._tokens[self.owner]} {self.owner}")
        if self._backend.finish(results, OwnedShard(0, self._tokens[worker], 0.0), {"1": ""}):
            self.delivered = False
        self.begun.pop(worker)
        self.has_done.discard(worker)


@settings(max_examples=250, deadline=None, database=None)
@given(st.lists(st.sampled_from(STEPS), min_size=20, max_size=60))
def test_whoever_is_told_cancelled_was_not_executed_in_any_order_of_events(
    backend: ResultBackend, steps: list[str]
) -> None:
    job = OneJob(backend)

    for step in steps:
        job.step(step)
        assert not (job.told_cancelled and job.executed), f"a lie at: {step}"
    assert job.state() != "REVOKED" or job.told_cancelled


def test_a_cancel_wins_over_nothing_but_a_job_that_nobody_has_begun_with(backend: ResultBackend) -> None:
    job = OneJob(backend)
    for step, still_cancellable in (
        ("begin", False),
        ("retry", False),
        ("execute", False),
        ("finish", False),
    ):
        job.step(step)
        assert cancel(backend.client, job.id, system_clock()) is still_cancellable
    assert job.state() == "SUCCESS"

    assert cancel(backend.client, OneJob(backend).id, system_clock())


def test_what_says_that_a_job_was_started_or_cancelled_outlives_its_message(backend: ResultBackend) -> None:
    started, cancelled = OneJob(backend), OneJob(backend)
    started.step("begin")
    cancelled.step("cancel")
    left_s = {job.id: backend.client.ttl(f"celery-task-meta-{job.id}") for job in (started, cancelled)}
    started.step("execute")
    started.step("finish")
    marks = backend.client.keys("memrepo:ended:*")

    assert all(HORIZON_S < left <= RECORD_KEPT_S for left in left_s.values())
    assert marks
    assert all(RECORD_KEPT_S < backend.client.ttl(mark) <= RECORD_KEPT_S + 3600 for mark in marks)
    assert {backend.client.object("encoding", mark) for mark in marks} == {b"intset"}  # 8 bytes each
    assert 0 < backend.client.ttl(f"celery-task-meta-{started.id}") <= 3600


def test_what_happened_wins_where_the_server_has_lost_that_it_was_started(backend: ResultBackend) -> None:
    job = OneJob(backend)
    job.step("begin")
    job.step("execute")
    backend.client.delete(f"celery-task-meta-{job.id}")  # as a crash without its last second would
    job.step("cancel")

    job.step("finish")

    assert job.state() == "SUCCESS"


def test_a_body_that_was_lost_leaves_a_job_that_an_earlier_attempt_may_have_executed_uncancellable(
    backend: ResultBackend,
) -> None:
    first, again = OneJob(backend), OneJob(backend)
    first.step("begin")
    for step in ("begin", "execute", "take over", "begin"):
        again.step(step)
    backend.take_back_started(Waiting(first.id, None), OWN, "")
    backend.take_back_started(Waiting(again.id, None), OTHER, again.begun[OTHER])

    assert (first.state(), again.state()) == ("", "RECEIVED")
    assert cancel(backend.client, first.id, system_clock())
    assert not cancel(backend.client, again.id, system_clock())


@pytest.fixture
def repos(broker: Valkey, workers: WorkerFleet) -> Iterator[MemoryRepos]:
    with MemoryRepos(settings=Settings(broker.url, broker.url, shards=SHARDS)) as client:
        yield client


@pytest.fixture
def own() -> WorkerSettings:
    return WorkerSettings(shards=SHARDS, concurrency=4)


@pytest.fixture
def control(broker: Valkey) -> Celery:
    return Celery(broker=broker.url, set_as_current=False)


def held(send: Sender, effects: redis.Redis, agent: str) -> str:
    """Send a commit whose execution waits for the test."""
    effects.set(f"hold:acme/{agent}", 1)
    first = send.commit("acme", agent)
    wait_for(lambda: (send.meta(first) or {}).get("status") == "STARTED", "the first commit to start")
    wait_for(lambda: effects.llen("begun"), "the first group to begin")
    return first


@pytest.mark.parametrize("command", ["revoke", "revoke and terminate", "terminate"])
def test_to_revoke_or_terminate_is_a_cancel(
    send: Sender, effects: redis.Redis, control: Celery, command: str
) -> None:
    running = held(send, effects, "c")
    parked, last = send.commit("acme", "c"), send.commit("acme", "c")
    for task_id in (running, parked):
        if command == "terminate":
            answers = control.control.terminate(task_id, signal="KILL", reply=True, timeout=30, limit=1)
        else:
            answers = control.control.revoke(
                task_id, terminate="terminate" in command, reply=True, timeout=30, limit=1
            )
        [answer] = answers[0].values()
        assert answer["ok"].startswith(task_id)
    assert send.final(parked)["status"] == "REVOKED"
    effects.delete("hold:acme/c")

    assert [send.final(task_id)["status"] for task_id in (running, parked, last)] == [
        "SUCCESS",
        "REVOKED",
        "SUCCESS",
    ]
    assert effects.lrange("effects:acme/c", 0, -1) == [running, last]


def test_it_is_told_of_each_id_whether_it_is_cancelled_goes_on_or_has_ended(
    send: Sender, effects: redis.Redis, control: Celery, broker: Valkey
) -> None:
    ended, expired = send.commit("acme", "ended"), send.commit("acme", "ended")
    for task_id in (ended, expired):
        assert send.final(task_id)["status"] == "SUCCESS"
    broker.client().delete(f"celery-task-meta-{expired}")
    running = held(send, effects, "told")
    waiting = send.commit("acme", "told")

    answers = control.control.revoke([ended, expired, running, waiting], reply=True, timeout=30, limit=1)

    effects.delete("hold:acme/told")
    assert [answer["ok"] for answer in answers[0].values()] == [
        f"{ended} has ended, {expired} has ended, {running} was started and goes on, {waiting} is cancelled"
    ]
    assert send.final(running)["status"] == "SUCCESS"


def test_what_a_worker_was_told_to_revoke_is_kept_in_the_record_alone(
    send: Sender, effects: redis.Redis, control: Celery, broker: Valkey
) -> None:
    request = commit_request("acme", "m")
    control.control.revoke(request.request_id, reply=True, timeout=30, limit=1)
    assert send.final(request.request_id)["status"] == "REVOKED"
    broker.client().delete(f"celery-task-meta-{request.request_id}")

    send.send(request)

    assert send.final(request.request_id)["status"] == "SUCCESS"
    assert list(control.control.inspect(timeout=30, limit=1).revoked().values()) == [[]]


def test_to_revoke_by_stamps_is_refused(send: Sender, effects: redis.Redis, control: Celery) -> None:
    assert send.final(send.commit("acme", "s"))["status"] == "SUCCESS"  # the worker is there
    answers = control.control.revoke_by_stamped_headers({"who": ["acme"]}, reply=True, timeout=30, limit=1)
    request = commit_request("acme", "s")
    headers = {"task": "memrepo.commit", "id": request.request_id}

    send.send(request, headers={**headers, "stamped_headers": ["who"], "stamps": {"who": "acme"}})

    [answer] = answers[0].values()
    assert answer["ok"].startswith("nothing was revoked")
    assert send.final(request.request_id)["status"] == "SUCCESS"


def test_a_cancel_changes_nothing_once_a_job_has_started(
    repos: MemoryRepos, send: Sender, effects: redis.Redis
) -> None:
    running = held(send, effects, "l")
    job = repos.job(running)

    job.cancel()

    assert job.status() == "running"
    effects.delete("hold:acme/l")
    assert send.final(running)["status"] == "SUCCESS"


def test_a_job_whose_result_has_expired_is_not_told_to_be_cancelled(
    repos: MemoryRepos, send: Sender, broker: Valkey
) -> None:
    done = send.commit("acme", "e")
    assert send.final(done)["status"] == "SUCCESS"
    broker.client().delete(f"celery-task-meta-{done}")
    job = repos.job(done)

    job.cancel()

    assert job.status() == "unknown"


def test_an_id_that_nobody_knows_yet_is_not_executed_when_it_comes(
    repos: MemoryRepos, send: Sender, effects: redis.Redis, broker: Valkey
) -> None:
    request = commit_request("acme", "t")
    job = repos.job(request.request_id)
    job.cancel()

    send.send(request)
    assert send.final(send.commit("acme", "t"))["status"] == "SUCCESS"

    with pytest.raises(JobCancelledError):
        job.result(timeout_s=5)
    assert request.request_id not in effects.lrange("effects:acme/t", 0, -1)
    wait_for(
        lambda: all(broker.client().hlen(unacked_key(f"memrepo.{n:03d}")) == 0 for n in range(SHARDS)),
        "the message to be acknowledged",
    )


def test_a_message_that_expired_while_it_waited_is_cancelled(send: Sender, effects: redis.Redis) -> None:
    late, in_time = (commit_request("acme", "x") for _ in range(2))
    for request, expires in ((late, "2020-01-01T00:00:00+00:00"), (in_time, "2120-01-01T00:00:00+00:00")):
        headers = {"task": "memrepo.commit", "id": request.request_id, "expires": expires}
        send.send(request, headers=headers)

    assert send.final(late.request_id)["status"] == "REVOKED"
    assert send.final(in_time.request_id)["status"] == "SUCCESS"
    assert effects.lrange("effects:acme/x", 0, -1) == [in_time.request_id]


def test_a_cancel_is_the_same_where_results_are_kept_apart_from_the_broker(
    broker: Valkey, own: WorkerSettings, tmp_path: Path
) -> None:
    url, results = broker.database(6), broker.database(9)
    apart = replace(own, broker_url=url, result_url=results)
    client = Settings(url, results, shards=SHARDS)
    with (
        fleet(tmp_path, apart, HANDLER, broker.database(8)) as running,
        MemoryRepos(settings=client) as repos,
    ):
        repo = repos.repo(org_id="acme", agent_id="apart")
        unwanted, wanted = repo.commit({"a": "1"}, "m"), repo.commit({"a": "2"}, "m")
        unwanted.cancel()
        running.start("apart")
        assert wanted.result(timeout_s=20).created
        broker.client(9).delete(f"celery-task-meta-{wanted.id}")  # as if it had expired
        with MemoryRepos(settings=client) as elsewhere:
            found = elsewhere.job(wanted.id)
            found.cancel()
            assert found.status() == "unknown"

        assert unwanted.status() == "cancelled"
        assert broker.client(8).lrange("effects:acme/apart", 0, -1) == [wanted.request_id]


def test_a_forged_record_of_another_kind_holds_nothing_up(send: Sender, broker: Valkey) -> None:
    request = commit_request("acme", "f")
    key = f"celery-task-meta-{request.request_id}"
    broker.client().hset(key, "status", "REVOKED")

    send.send(request)
    wait_for(lambda: broker.client().type(key) == "string", "the record to be one")

    assert send.final(request.request_id)["status"] == "SUCCESS"


def test_a_cancel_while_a_commit_is_on_its_way_to_the_store_is_no_verdict_though_its_worker_dies(
    broker: Valkey, tmp_path: Path
) -> None:
    """The owner dies when its entry has arrived and its answer has not; another worker tells what happened."""
    url = broker.database(6)
    settings = WorkerSettings(broker_url=url, result_url=url, shards=SHARDS, lease_s=2)
    near = {"folder": str(tmp_path), "delay_s": 0}
    with (
        fleet(tmp_path / "far", settings, REAL_SERVICE, {**near, "way_s": 1, "answer_s": 600}) as far_away,
        fleet(tmp_path / "near", settings, REAL_SERVICE, near) as nearby,
        MemoryRepos(settings=Settings(url, url, shards=SHARDS)) as repos,
    ):
        owner = far_away.start("far")
        wait_for(lambda: owners(broker) == {"far"}, "the first worker to own all shards")
        nearby.start("near")
        wait_for(lambda: owners(broker) == {"far", "near"}, "two workers to share the shards")
        repo = repos.repo(org_id="acme", agent_id=agent_of(broker, "far"))
        job = repo.commit({"a": "1"}, "wanted after all", create_repo_if_missing=True)
        wait_for(lambda: job.status() == "running", "the commit to start")

        job.cancel()
        assert job.status() == "running"
        wait_for(lambda: list(tmp_path.glob("store/**/journal/*")), "its entry to arrive")
        owner.kill()

        assert job.result(timeout_s=30).message == "wanted after all"
        assert job.status() == "done"
        assert [commit.message for commit in repo.get_history().result(timeout_s=30)] == ["wanted after all"]


REAL_SERVICE = "tests.support.real_service:real_service"


def owners(broker: Valkey) -> set[str]:
    return set(owner_of_each(broker).values())


def owner_of_each(broker: Valkey) -> dict[int, str]:
    with broker.client(6) as client:
        records = read_owners(client.hgetall(OWNERS_KEY))
    return {shard: worker.partition("@")[0] for shard, (_, worker) in records.items()}


def agent_of(broker: Valkey, worker: str) -> str:
    """Return the id of an agent whose shard a worker owns."""
    mine = {shard for shard, owner in owner_of_each(broker).items() if owner == worker}
    return next(f"agent-{n}" for n in range(1000) if shard_of("acme", f"agent-{n}", SHARDS) in mine)
