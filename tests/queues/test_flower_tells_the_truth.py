"""Every end of a request shows in Flower: whose it was, where it ran, and a state that is the last one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.events import EventDispatcher

from memrepo import MemoryRepos, Settings
from memrepo_worker.queues.consumer.events import TaskEvents
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER, SHARDS
from tests.support.flower_view import FlowerView
from tests.support.sending import Sender, commit_request, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, fleet

SUMMARY = "acme/a main 1 changes 14 bytes"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def broker(server: Valkey) -> Valkey:
    """Empty, and for one test's own workers alone."""
    server.client().flushall()
    return server


@pytest.fixture
def own_fleet(broker: Valkey, tmp_path: Path) -> Iterator[WorkerFleet]:
    settings = WorkerSettings(
        broker_url=broker.url,
        result_url=broker.url,
        shards=SHARDS,
        concurrency=4,
        lease_s=2,
        soft_shutdown_timeout_s=5,
    )
    with fleet(tmp_path, settings, HANDLER, broker.database(1)) as running:
        yield running


@pytest.fixture
def fake(broker: Valkey) -> Iterator[redis.Redis]:
    """The database in which the fake service shows what it did, and is told what to do."""
    with broker.client(1) as client:
        yield client


@pytest.fixture
def sending(broker: Valkey) -> Iterator[Sender]:
    with sender(broker, SHARDS) as one:
        yield one


@pytest.fixture
def flower(broker: Valkey) -> Iterator[FlowerView]:
    with FlowerView(broker.url) as view:
        yield view


@pytest.fixture
def repos(broker: Valkey) -> Iterator[MemoryRepos]:
    with MemoryRepos(settings=Settings(broker.url, broker.url, shards=SHARDS)) as client:
        yield client


def test_every_end_of_a_mixed_run_is_shown_with_name_kwargs_worker_and_a_last_state(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet, fake: redis.Redis, repos: MemoryRepos
) -> None:
    cancelled = [sending.commit("acme", "a") for _ in range(19)]  # before any worker has them
    for task_id in cancelled:
        repos.job(task_id).cancel()
    fake.set("hold:acme/b", 1)
    held = sending.commit("acme", "b")
    worker = f"{own_fleet.start('mixed').name}@"
    wait_for(lambda: fake.llen("begun"), "the held commit to begin")
    parked = [sending.commit("acme", "b") for _ in range(25)]
    flower.tasks(parked, "RECEIVED")
    for task_id in parked[:19]:  # when a worker has them, and has begun none
        repos.job(task_id).cancel()
    fake.delete("hold:acme/b")

    done = [
        held,
        *parked[19:],
        *(sending.commit("acme", f"c{n}") for n in range(10)),
        sending.read("acme", "a"),
    ]
    failed = [sending.commit("acme", "a", message="moved"), sending.commit("acme", "a", message="poison")]
    invalid = sending.send(
        commit_request("acme", "a"), body=[[], {"request": {"message": "SECRET-CONTENT"}}, {}]
    )
    forged = [
        sending.send(commit_request("acme", "a"), task_id=one, headers={"id": one, "task": name})
        for one, name in ((str(uuid4()), "os.system"), (str(uuid4()), "SECRET CONTENT\n"))
    ]
    late = commit_request("acme", "a", content=b"SECRET-CONTENT")
    expires = {"id": late.request_id, "task": "memrepo.commit", "expires": "2020-01-01T00:00:00+00:00"}
    sending.send(late, headers={**expires, "kwargsrepr": late.public_summary})

    cancelled += [*parked[:19], late.request_id]
    failed += [invalid, *forged]
    shown = flower.tasks([*cancelled, *done, *failed])

    assert Counter(task["state"] for task in shown.values()) == {"REVOKED": 39, "SUCCESS": 18, "FAILURE": 5}
    assert {shown[task_id]["state"] for task_id in cancelled} == {"REVOKED"}
    assert {shown[task_id]["kwargs"] for task_id in cancelled} == {SUMMARY, SUMMARY.replace("/a", "/b")}
    assert {shown[task_id]["name"] for task_id in cancelled} == {"memrepo.commit"}
    assert [shown[task_id]["name"] for task_id in forged] == ["os.system", "unknown"]
    assert all(task["name"] and task["kwargs"] and task["args"] == "()" for task in shown.values())
    assert all(task["worker"].startswith(worker) for task in shown.values())
    assert "SECRET" not in repr(shown)
    assert flower.metric("flower_worker_prefetched_tasks", shown[held]["worker"]) == 0


def test_a_job_whose_store_was_away_is_shown_to_wait_and_then_to_have_succeeded(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet, fake: redis.Redis
) -> None:
    fake.set("down", 1)
    own_fleet.start("retrying")
    ids = [sending.commit("acme", "r") for _ in range(5)]
    (waiting,) = flower.tasks(ids[:1], "RETRY").values()

    fake.delete("down")

    shown = flower.tasks(ids)
    assert {task["state"] for task in shown.values()} == {"SUCCESS"}
    assert 1 <= waiting["retries"] <= shown[ids[0]]["retries"], "as often as it was set aside"


def test_what_a_worker_gives_back_when_it_stops_ends_where_it_is_done(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet, fake: redis.Redis
) -> None:
    """One request is finished during the stop, the others have not begun."""
    fake.set("hold:acme/h", 1)
    first = own_fleet.start("first")
    running = sending.commit("acme", "h")
    wait_for(lambda: fake.llen("begun"), "the held commit to begin")
    parked = [sending.commit("acme", "h") for _ in range(3)]
    flower.tasks(parked, "RECEIVED")
    first.terminate()
    wait_for(lambda: all(flower.task(one)["rejected"] for one in parked), "the others to be given back")
    fake.delete("hold:acme/h")
    first.process.wait(20)

    assert flower.tasks([running])[running]["worker"].startswith("first@")
    assert flower.metric("flower_worker_prefetched_tasks", flower.task(running)["worker"]) == 0
    own_fleet.start("second")
    shown = flower.tasks(parked)
    assert {task["state"] for task in shown.values()} == {"SUCCESS"}
    assert {task["worker"].partition("@")[0] for task in shown.values()} == {"second"}
    assert flower.metric("flower_worker_prefetched_tasks", shown[parked[0]]["worker"]) == 0


def test_what_a_worker_had_begun_when_it_was_killed_ends_where_it_is_done(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet, fake: redis.Redis
) -> None:
    fake.set("hold:acme/k", 1)
    killed = own_fleet.start("killed")
    running = sending.commit("acme", "k")
    parked = sending.commit("acme", "k")
    flower.tasks([running], "STARTED")
    flower.tasks([parked], "RECEIVED")
    killed.kill()
    fake.delete("hold:acme/k")

    own_fleet.start("survivor")

    shown = flower.tasks([running, parked])
    assert {task["state"] for task in shown.values()} == {"SUCCESS"}
    assert {task["worker"].partition("@")[0] for task in shown.values()} == {"survivor"}


def test_what_an_owner_that_died_could_not_tell_is_told_by_the_next(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet, broker: Valkey
) -> None:
    """The result was stored, in another database than the broker's, and its message was not acknowledged."""
    task_ids = {state: sending.commit("acme", "n") for state in ("SUCCESS", "FAILURE")}
    with broker.client(2) as client:
        for state, task_id in task_ids.items():
            client.set(f"celery-task-meta-{task_id}", f'{{"status": "{state}", "task_id": "{task_id}"}}')

    own_fleet.start("next", result_url=broker.database(2))

    shown = flower.tasks(task_ids.values())
    assert {state: shown[task_id]["state"] for state, task_id in task_ids.items()} == {
        "SUCCESS": "SUCCESS",
        "FAILURE": "FAILURE",
    }


def test_what_ends_while_the_connection_for_events_is_made_anew_is_shown(
    flower: FlowerView, broker: Valkey
) -> None:
    """One event was not sent yet when the connection was lost; one came when there was none."""
    app = Celery(broker=broker.url, set_as_current=False)

    def connect() -> EventDispatcher:
        connection = app.connection_for_write()
        return EventDispatcher(
            connection, hostname="w@h", buffer_group=["task"], on_send_buffered=lambda: None, app=app
        )

    consumer = SimpleNamespace(event_dispatcher=connect())
    events = TaskEvents(consumer, lambda _, flush: flush())
    events.resume()
    events.send("task-received", "one", name="memrepo.commit", kwargs=SUMMARY)
    consumer.event_dispatcher.close()
    consumer.event_dispatcher = None
    events.send("task-succeeded", "one")

    consumer.event_dispatcher = connect()
    events.resume()

    shown = flower.tasks(["one"])["one"]
    assert (shown["state"], shown["name"], shown["kwargs"]) == ("SUCCESS", "memrepo.commit", SUMMARY)


def test_the_runtimes_of_commits_that_shared_a_group_add_up_to_the_time_that_was_spent(
    flower: FlowerView, sending: Sender, own_fleet: WorkerFleet
) -> None:
    ids = [sending.commit("acme", "g") for _ in range(900)]
    began_s = time.monotonic()
    worker = own_fleet.start("groups")
    ended = flower.tasks(ids)
    wall_s = time.monotonic() - began_s

    name = ended[ids[0]]["worker"]
    assert name.startswith(worker.name)
    wait_for(  # Flower counts an event after it has shown it
        lambda: flower.metric("flower_task_runtime_seconds_count", name) == len(ids),
        "all runtimes to be counted",
    )
    assert (
        0 < flower.metric("flower_task_runtime_seconds_sum", name) < wall_s
    )  # one agent has one turn at a time
    assert all(0 <= task["started"] - task["received"] < wall_s for task in ended.values())
