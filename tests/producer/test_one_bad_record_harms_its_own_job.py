from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any

import pytest

from memrepo import MemoryRepo, MemoryRepoBusyError, MemoryRepoError, Settings
from memrepo.clock import steady_clock
from memrepo.dispatch.connection import Message
from memrepo.dispatch.publisher import Publisher
from memrepo.ids import new_id
from memrepo.routing import route
from memrepo.wire.operations import COMMIT, build
from memrepo.wire.payload import Payload, PayloadClaim, encode
from memrepo.wire.payload_store import PayloadStore
from tests.producer.stand_in import SHA, StandIn
from tests.support.valkey import Valkey

QUEUE = route("acme", "agent-1")
DEEP = "[" * 100_000
NESTED = "[" * 900 + "]" * 900  # deep, and yet JSON that Python reads
HUGE = "9" * 4_000


def record(status: str, result: str, name: str = "null") -> str:
    return f'{{"status": "{status}", "task_id": "ID", "result": {result}, "name": {name}}}'


def fault(kind: str, message: str) -> str:
    return f'{{"exc_type": {kind}, "exc_message": {message}, "exc_module": 7}}'


FORGED = {
    "deep JSON": record("SUCCESS", DEEP),
    "a nested result": record("SUCCESS", NESTED),
    "a huge number": record("SUCCESS", HUGE),
    "a number beyond floats": record("SUCCESS", "1e999"),
    "a status that is no word": '{"status": [], "task_id": "ID", "result": null}',
    "an id that is no text": '{"status": "SUCCESS", "task_id": ["ID"], "result": null}',
    "a nested claim": record("SUCCESS", f'{{"body": {NESTED}}}'),
    "a claim of a body that is not there": record("SUCCESS", '{"body": {"chunks": 1, "size_bytes": 10}}'),
    "a huge claim": record("SUCCESS", f'{{"body": {{"chunks": {HUGE}, "size_bytes": {HUGE}}}}}'),
    "an operation that is none": record("SUCCESS", "[]", '{"a": 1}'),
    "a failure that is none": record("FAILURE", NESTED),
    "a failure of a nested kind": record("FAILURE", fault(NESTED, NESTED)),
    "an error with details of any kind": record(
        "FAILURE", fault('"RepoNotFoundError"', f'["x", {{"a": {NESTED}, "errno": 1e999}}]')
    ),
    "a retry since a time beyond all dates": record("RETRY", fault("7", f'["x", {{"since": {HUGE}}}]')),
}


@pytest.mark.parametrize("published", [True, False], ids=["published", "at its key"])
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_the_next_job_is_heard_of(
    forged: str, published: bool, broker: Valkey, worker: StandIn, repo: MemoryRepo
) -> None:
    worker.answer = lambda _: None
    victim, other = repo.get_head_sha(), repo.get_head_sha()
    taken = {one.id: one for one in worker.wait_taken(2)}
    written = forged.replace("ID", victim.id)
    with broker.client() as client:
        if published:
            client.publish(taken[victim.id].properties["reply_to"], written)
        else:
            client.set(f"celery-task-meta-{victim.id}", written)
    victim.status()

    worker.settle(taken[other.id], SHA)

    assert other.result(timeout_s=30) == SHA
    worker.settle(taken[victim.id], SHA)
    with suppress(MemoryRepoError):  # it may have ended by what was forged
        assert victim.result(timeout_s=30) == SHA
    assert str(victim.describe())


class ForgedPayload(Payload):
    """One whose head says that a content is endless."""

    @property
    def head(self) -> tuple[bytes, ...]:
        return (b'{"value": "x", "sizes": [1e999]}',)


def test_the_same_with_a_forged_body(broker: Valkey, worker: StandIn, repo: MemoryRepo) -> None:
    worker.answer = lambda _: None
    victim, other = repo.get_head_sha(), repo.get_head_sha()
    taken = {one.id: one for one in worker.wait_taken(2)}
    body = ForgedPayload("x")
    with broker.client() as client:
        for number, chunk in enumerate(encode(body)):
            client.hset(f"memrepo:body:result:{victim.id}", str(number), chunk)
    worker.settle(taken[victim.id], {"body": {"chunks": 1, "size_bytes": body.size_bytes}})

    worker.settle(taken[other.id], SHA)

    assert other.result(timeout_s=30) == SHA
    with pytest.raises(MemoryRepoError, match="cannot be read") as told:
        victim.result(timeout_s=10)
    assert f'repo.find_request("{victim.id}")' in told.value.message
    assert told.value.details == {"job_id": victim.id}


def test_a_fault_in_the_publisher_is_the_end_of_its_own_requests(
    broker: Valkey,
    worker: StandIn,
    repo: MemoryRepo,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "memrepo"):
        patch.setattr("memrepo.dispatch.publisher.Publisher._give_up_late", fail)
        with pytest.raises(MemoryRepoError, match="a fault of memrepo itself, ZeroDivisionError"):
            repo.get_head_sha()

    assert repo.get_head_sha().result(timeout_s=30) == SHA
    assert [record.getMessage() for record in caplog.records] == [
        "memrepo-publisher failed by a fault of memrepo itself: ZeroDivisionError"
    ]


def test_a_publisher_whose_thread_was_ended_sends_the_next_request(
    worker: StandIn, repo: MemoryRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_items = Publisher._next_items
    ended: list[str] = []

    def end_once(self: Publisher) -> Any:
        items = next_items(self)
        if ended:
            return items
        self._inbox.put(items[0] if items else None)
        ended.append(threading.current_thread().name)
        raise SystemExit

    monkeypatch.setattr(Publisher, "_next_items", end_once)

    assert repo.get_head_sha().result(timeout_s=30) == SHA
    assert repo.get_head_sha().result(timeout_s=30) == SHA
    assert ended == ["memrepo-publisher"]


def test_replies_are_heard_after_a_fault_in_what_sees_to_faults(
    broker: Valkey, worker: StandIn, repo: MemoryRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo.get_head_sha().result(timeout_s=30) == SHA
    fallen = threading.Event()

    def fail(_: object) -> None:
        fallen.set()
        raise ZeroDivisionError

    with monkeypatch.context() as patch, broker.client() as client:
        patch.setattr("memrepo.dispatch.replies.meaning_of", fail)
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert fallen.wait(10)

    assert repo.get_head_sha().result(timeout_s=30) == SHA
    assert repo.get_head_sha().result(timeout_s=30) == SHA


def test_a_batch_in_which_one_is_refused_before_another_fails_is_settled_once_each(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = PayloadStore.put
    calls: list[str] = []

    def refuse_then_break(self: PayloadStore, name: str, *args: Any, **options: Any) -> PayloadClaim:
        calls.append(name)
        if len(calls) == 1:
            raise MemoryRepoBusyError("no room")
        if len(calls) == 2:
            raise ConnectionResetError
        return put(self, name, *args, **options)

    monkeypatch.setattr(PayloadStore, "put", refuse_then_break)
    together = threading.Event()

    def wait_for_all(_: float) -> None:
        together.wait(20)

    publisher = Publisher(settings, wait_for_all)
    first, busy, broken, later = [
        message(content) for content in ("small", "x" * 100_000, "y" * 100_000, "small")
    ]
    publisher.send(first)  # while it waits, the two others come to be one batch
    for one in (busy, broken):
        publisher.send(one)
    together.set()

    with pytest.raises(MemoryRepoBusyError):
        busy.sent.result(timeout=5)
    assert broken.sent.result(timeout=5) is None
    publisher.send(later)
    assert later.sent.result(timeout=5) is None
    publisher.close()


def message(content: str) -> Message:
    request = build(
        COMMIT.request,
        org_id="acme",
        agent_id="agent-1",
        request_id=new_id(),
        enqueued_at=0.0,
        changes=[{"path": "a", "content": content}],
        message="m",
    )
    return Message(new_id(), COMMIT.task_name, request, QUEUE, "memrepo.replies.x", steady_clock() + 20)
