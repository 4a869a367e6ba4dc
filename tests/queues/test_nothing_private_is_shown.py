from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from celery import Celery

from memrepo import MemoryCommit, RequestOutcome
from memrepo.wire.operations import FIND_REQUEST
from tests.support.events import HEARD, wait_until_heard
from tests.support.sending import Sender
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet

PRIVATE = ("SECRET-CONTENT", "secret-path")


class Listener:
    """Collects the events that Flower would see."""

    def __init__(self, broker_url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._app = Celery(broker=broker_url, set_as_current=False)
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._stopped = False

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            handlers = {"*": self.events.append, HEARD: lambda _: self._heard.set()}
            receiver = self._app.events.Receiver(connection, handlers=handlers)
            with receiver.consumer_context() as (listening, _, _):
                while not self._stopped:
                    try:
                        listening.drain_events(timeout=0.2)
                    except TimeoutError:
                        continue

    def __enter__(self) -> Listener:
        """Begin; what is told from here on is heard."""
        self._thread.start()
        wait_until_heard(self._app, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._thread.join(5)

    def of(self, task_id: str) -> dict[str, dict[str, Any]]:
        return {event["type"]: event for event in list(self.events) if event.get("uuid") == task_id}


def test_events_tell_the_life_of_a_request_by_its_shape_only(
    send: Sender, broker: Valkey, workers: WorkerFleet
) -> None:
    with Listener(broker.url) as listener:
        good = send.commit("acme", "agent-1", message="SECRET-CONTENT")
        bad = send.commit("acme", "agent-1", message="moved")
        wait_for(lambda: "task-succeeded" in listener.of(good), "the success to be told")
        wait_for(lambda: "task-failed" in listener.of(bad), "the failure to be told")
        told = listener.of(good)

    assert set(told) == {"task-received", "task-started", "task-succeeded"}
    assert told["task-received"]["kwargs"] == "acme/agent-1 main 1 changes 14 bytes"
    assert told["task-succeeded"]["result"].startswith("commit ")
    assert listener.of(bad)["task-failed"]["exception"] == "HeadMovedError()"
    everything = json.dumps(listener.events, default=str) + workers.workers[0].output
    assert not [word for word in PRIVATE if word in everything]


def test_inspect_shows_what_runs_without_its_content(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    app = Celery(broker=broker.url, set_as_current=False)
    effects.set("hold:acme/i", 1)
    request_id = send.commit("acme", "i")
    wait_for(lambda: effects.llen("begun"), "the request to begin")

    shown = app.control.inspect(timeout=30, limit=1).active()

    effects.delete("hold:acme/i")
    assert request_id in json.dumps(shown)
    assert not [word for word in PRIVATE if word in json.dumps(shown)]
    assert send.final(request_id)["status"] == "SUCCESS"


def test_a_revoked_request_is_not_run(send: Sender, broker: Valkey, effects: redis.Redis) -> None:
    app = Celery(broker=broker.url, set_as_current=False)
    effects.set("hold:acme/r", 1)
    first = send.commit("acme", "r")
    wait_for(lambda: effects.llen("begun"), "the first request to begin")
    revoked, last = send.commit("acme", "r"), send.commit("acme", "r")
    app.control.revoke(revoked, reply=True, timeout=30, limit=1)
    effects.delete("hold:acme/r")

    assert [send.final(request_id)["status"] for request_id in (first, revoked, last)] == [
        "SUCCESS",
        "REVOKED",
        "SUCCESS",
    ]
    assert effects.lrange("effects:acme/r", 0, -1) == [first, last]


def test_what_became_of_a_request_is_shown_by_its_verdict_and_sha_only() -> None:
    sha = "a" * 40
    commit = MemoryCommit(
        sha=sha,
        parent_sha=None,
        message="SECRET-CONTENT",
        author_type="agent",
        author_id=None,
        author_name="n",
        author_email="e",
        timestamp=datetime.now(UTC),
        files_changed=["secret-path"],
        additions=1,
        deletions=0,
        request_id="request-1",
    )
    found = [
        RequestOutcome(request_id="request-1", verdict="committed", sha=sha, commit=commit),
        RequestOutcome(
            request_id="request-1",
            verdict="failed",
            error_type="ContentMovedError",
            error_message="secret-path",
            error_details={},
        ),
    ]

    assert [FIND_REQUEST.public_summary(outcome) for outcome in found] == [f"committed {sha}", "failed"]


@pytest.mark.parametrize("question", ["conf", "stats", "active_queues", "registered", "reserved", "report"])
def test_whatever_flower_asks_is_answered(send: Sender, broker: Valkey, question: str) -> None:
    inspect = Celery(broker=broker.url, set_as_current=False).control.inspect(timeout=30, limit=1)

    [answer] = getattr(inspect, question)().values()

    assert "error" not in answer
