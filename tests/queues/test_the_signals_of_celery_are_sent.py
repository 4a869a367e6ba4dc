"""Whoever listens to Celery's signals of tasks hears them; where nobody does, the same record is written without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, signals
from celery.app import trace
from celery.app.trace import build_tracer, reset_worker_optimizations, setup_worker_optimizations

from memrepo.errors import HeadMovedError, MemoryRepoError
from memrepo.wire.payload import Payload
from memrepo_worker.app import build_app
from memrepo_worker.queues.consumer.task_request import TaskRequest
from memrepo_worker.queues.results.records import StoredResult
from memrepo_worker.settings import WorkerSettings

TASK = "memrepo.commit"


@pytest.fixture(scope="module")
def app() -> Iterator[Celery]:
    """A worker's app; nothing is sent anywhere."""
    app = build_app(WorkerSettings())
    setup_worker_optimizations(app, hostname="w@h")
    task: Any = app.tasks[TASK]
    task.__trace__ = build_tracer(TASK, task, app.loader, "w@h", app=app)  # as Celery's consumer does
    yield app
    reset_worker_optimizations(app)


def recorded(app: Celery, result: Any) -> StoredResult:
    """What is stored of one request that ended so."""
    task_id = uuid4().hex
    request: Any = TaskRequest.__new__(TaskRequest)
    request.id, request._type, request._app = task_id, TASK, app
    request._request_dict = {
        "id": task_id,
        "task": TASK,
        "args": (),
        "kwargs": {},
        "reply_to": "memrepo:replies:me",
        "delivery_info": {"routing_key": "memrepo.shard.0"},
        "root_id": task_id,
    }
    request._Request__payload = ((), {}, {})
    with app.backend.collecting() as results:
        request.record_result(result)
    stored: StoredResult
    (stored,) = results
    return stored


@pytest.mark.parametrize(
    ("result", "status"),
    [
        ({"sha": "a"}, "SUCCESS"),
        (Payload({"sha": "a", "files_changed": ["é.md", "😀", 'a"b\\'], "n": None}), "SUCCESS"),
        (Payload({"files_changed": ["\ud83d"]}), "SUCCESS"),
        (HeadMovedError("moved", {"head": "a"}), "FAILURE"),
    ],
    ids=["a success", "a success that is written already", "half a character", "a failure"],
)
def test_the_record_is_the_same_whether_anybody_listens_or_not(app: Celery, result: Any, status: str) -> None:
    def listener(**_: object) -> None:
        pass

    alone = recorded(app, result)
    signals.task_prerun.connect(listener, weak=False)
    try:
        heard = recorded(app, result)
    finally:
        signals.task_prerun.disconnect(listener)

    records = [json.loads(stored.meta) for stored in (alone, heard)]
    for record in records:
        record["date_done"], record["task_id"] = "", ""
    assert records[0] == records[1]
    assert records[0]["status"] == status
    if isinstance(result, Payload):
        assert records[0]["result"] == result.value
    assert alone.reply_to == heard.reply_to == "memrepo:replies:me"
    assert "" not in alone.mark  # what remembers a write when its record has expired


def test_the_stack_is_not_described_of_a_failure_that_nobody_listens_for(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[object] = []
    monkeypatch.setattr(trace, "ExceptionInfo", lambda *args, **_: described.append(args))
    recorded(app, HeadMovedError("moved", {"head": "a"}))
    assert described == []


@pytest.mark.parametrize("name", ["prerun", "postrun", "success"])
def test_a_signal_that_has_a_receiver_is_sent_of_a_success(app: Celery, name: str) -> None:
    heard: list[str] = []

    def listener(sender: Any, **_: object) -> None:
        heard.append(sender.name)

    signal = getattr(signals, f"task_{name}")
    signal.connect(listener, weak=False)
    try:
        recorded(app, {"sha": "a"})
    finally:
        signal.disconnect(listener)

    assert heard == [TASK]


@pytest.mark.parametrize("name", ["prerun", "postrun", "failure"])
def test_a_signal_that_has_a_receiver_is_sent_of_a_failure(app: Celery, name: str) -> None:
    heard: list[str] = []

    def listener(sender: Any, **_: object) -> None:
        heard.append(sender.name)

    error: MemoryRepoError = HeadMovedError("moved", {"head": "a"})
    signal = getattr(signals, f"task_{name}")
    signal.connect(listener, weak=False)
    try:
        stored = recorded(app, error)
    finally:
        signal.disconnect(listener)

    assert heard == [TASK]
    assert json.loads(stored.meta)["status"] == "FAILURE"
