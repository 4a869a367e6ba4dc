"""What a worker writes to its log while it serves, as an operator reads it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from memrepo.clock import system_clock
from memrepo.routing import queue_name, shard_of
from memrepo.wire.keys import unacked_key
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER, SHARDS
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK, free_port
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, fleet


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A broker whose shards are nobody else's."""
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def talking(own_broker: Valkey, settings: WorkerSettings, tmp_path: Path) -> Iterator[WorkerFleet]:
    """Workers that write JSON; there is nothing on their broker when a test begins."""
    with own_broker.client() as client:
        client.flushall()
    url = own_broker.url
    values = replace(
        settings,
        broker_url=url,
        result_url=url,
        store_url="s3://bucket/prefix?secret=s3cr3t",
        cache_dir=tmp_path,
        log_format="json",
        lease_s=2.0,
    )
    with fleet(tmp_path / "logs", values, HANDLER, own_broker.database(1)) as workers:
        yield workers


def records(worker: WorkerProcess) -> list[dict[str, Any]]:
    """Return what it wrote, all of which must be JSON; the last line may be under way."""
    whole = worker.output.rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def logged(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    """Return the records of one kind of event."""
    return [record for record in records(worker) if record["event"] == event]


def first(worker: WorkerProcess, event: str) -> dict[str, Any]:
    """Wait for an event and return its first record."""
    return wait_for(lambda: logged(worker, event), f"{worker.name} to tell {event}")[0]


def test_a_worker_says_once_that_it_is_ready_and_for_what(talking: WorkerFleet, own_broker: Valkey) -> None:
    worker = talking.start("w1")

    ready = first(worker, "worker.ready")

    assert ready["worker"].startswith("w1@")
    assert (ready["shards"], ready["shards_total"]) == (SHARDS, SHARDS)
    assert ready["broker"] == own_broker.url
    assert ready["store"] == "s3://bucket/prefix?secret=***"
    assert ready["cache"] == str(talking.settings.cache_dir)
    assert ready["version"] == metadata.version("memrepo")
    assert f"serves {SHARDS} of {SHARDS} shards" in ready["message"]
    assert len(logged(worker, "worker.ready")) == 1


def test_a_warning_level_leaves_a_healthy_worker_silent(talking: WorkerFleet, own_broker: Valkey) -> None:
    worker = talking.start(log_level="WARNING")
    wait_for(
        lambda: own_broker.client().hlen("memrepo:owners") == SHARDS, "the worker to have taken its shards"
    )
    worker.terminate()
    worker.process.wait(20)

    assert worker.output == ""


def test_a_store_that_is_down_is_told_when_it_begins_and_when_it_is_over_and_the_record_says_why(
    talking: WorkerFleet, own_broker: Valkey
) -> None:
    effects = own_broker.client(1)
    worker = talking.start("w1")
    with sender(own_broker, SHARDS) as send:
        effects.set("down", 1)
        before_s = system_clock()
        ids = [send.commit("acme", agent) for agent in ("ann", "bob", "cid")]
        wait_for(lambda: all(retrying(send, one) for one in ids), "all to wait for the store")
        wait_for(lambda: effects.llen("begun") >= 12, "many tries")
        records_of_jobs = [retrying(send, one) for one in ids]
        effects.delete("down")
        assert [send.final(one)["status"] for one in ids] == ["SUCCESS"] * 3
    effects.close()

    for record in records_of_jobs:
        assert record["result"]["exc_type"] == "StoreUnavailableError"
        reason, details = record["result"]["exc_message"]
        assert reason == "the test says so"
        assert before_s <= details["since"] <= system_clock()
    began, over = first(worker, "store.trouble"), first(worker, "store.trouble.over")
    assert began["level"] == over["level"] == "WARNING"
    assert began["message"].startswith("the test says so; ")
    assert (began["error"], began["reason"]) == ("UnavailableError", "the test says so")
    assert began["agent"] in ("acme/ann", "acme/bob", "acme/cid")
    assert over["message"].startswith("over after ")
    assert len(logged(worker, "store.trouble")) == len(logged(worker, "store.trouble.over")) == 1


def retrying(send: Sender, task_id: str) -> dict[str, Any]:
    """Return a job's record if it waits for the store."""
    meta = send.meta(task_id) or {}
    return meta if meta.get("status") == "RETRY" else {}


def test_a_store_that_is_away_is_named_with_its_host_and_cause(
    own_broker: Valkey, settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "s3cr3t")
    own_broker.client().flushall()
    values = replace(settings, broker_url=own_broker.url, result_url=own_broker.url, log_format="json")
    port = free_port()
    argument = {
        "folder": str(tmp_path),
        "delay_s": 0,
        "store_url": f"s3://bucket?endpoint_url=http://{LOOPBACK}:{port}&region=x&addressing_style=path",
    }
    with (
        fleet(tmp_path / "logs", values, "tests.support.real_service:real_service", argument) as workers,
        sender(own_broker, SHARDS) as send,
    ):
        worker = workers.start()
        one = send.commit("acme", "ann")
        refused = wait_for(lambda: retrying(send, one), "the request to wait")["result"]["exc_message"]
        with answering(Answer.of_s3(503, "SlowDown", "Please reduce your request rate."), port):
            slow = wait_for(
                lambda: "SlowDown" in (said := retrying(send, one)["result"]["exc_message"])[0] and said,
                "the request to wait for another reason",
            )
        reasons = [record["reason"] for record in logged(worker, "store.trouble")]

    place = f"s3://bucket at {LOOPBACK}:{port}"
    assert refused[0] == f"{place}: connection refused (ECONNREFUSED)"
    assert slow == [f"{place}: SlowDown (503): Please reduce your request rate.", refused[1]]
    assert reasons[0] == refused[0]
    assert slow[0] in reasons
    assert "s3cr3t" not in worker.output


def test_a_request_that_fails_in_the_worker_is_found_in_its_log_by_the_id_in_the_verdict(
    talking: WorkerFleet, own_broker: Valkey
) -> None:
    worker = talking.start("w1")
    with sender(own_broker, SHARDS) as send:
        one = send.commit("acme", "ann", message="poison")
        message, details = send.final(one)["result"]["exc_message"]

    assert details["request_id"] == one
    assert details["worker"].startswith("w1@")
    assert f"look for {one} in the log of w1@" in message
    faults = logged(worker, "request.fault")
    assert [fault["tries"] for fault in faults] == [1, 2, 3]
    assert all(fault["request_ids"] == [one] and fault["agent"] == "acme/ann" for fault in faults)
    assert all(fault["error"] == "ValueError" and "fake_service.py:" in fault["where"] for fault in faults)
    assert not any("traceback" in fault for fault in faults)
    assert [record["request_ids"] for record in logged(worker, "request.given_up")] == [[one]]
    assert logged(worker, "request") == [], "lines of requests are for who asks for them"
    assert "SECRET-CONTENT" not in worker.output


def test_at_debug_the_fault_comes_with_its_traceback_without_what_it_says(
    talking: WorkerFleet, own_broker: Valkey
) -> None:
    worker = talking.start("w1", log_level="DEBUG")
    with sender(own_broker, SHARDS) as send:
        send.final(send.commit("acme", "ann", message="poison"))

    assert first(worker, "request")["error"] == "WorkerFaultError"
    fault = logged(worker, "request.fault")[0]
    assert fault["traceback"][-1] == "ValueError"
    assert any(line.startswith("attempts.py:") for line in fault["traceback"])
    assert "SECRET-CONTENT" not in worker.output


def test_what_changes_hands_is_one_line_on_each_side_with_who_it_is_for(talking: WorkerFleet) -> None:
    one = talking.start("w1")
    first(one, "worker.ready")
    two = talking.start("w2")
    gave, took = first(one, "shards.moved"), first(two, "shards.moved")

    assert (gave["given"], gave["taken"], gave["shards"]) == (SHARDS // 2, 0, SHARDS // 2)
    assert gave["message"].startswith(f"gave {SHARDS // 2} shards up for w2@")
    assert (took["taken"], took["given"], took["shards"]) == (SHARDS // 2, 0, SHARDS // 2)
    assert first(two, "worker.ready")["shards"] in (0, SHARDS // 2)

    two.kill()
    over = wait_for(
        lambda: logged(one, "shards.moved")[1:], "the shards of the dead worker to be taken over"
    )[0]

    assert over["level"] == "WARNING"
    assert sum(over["taken_over"].values()) == over["taken"] == SHARDS // 2
    assert "over from w2@" in over["message"]
    assert len(logged(one, "shards.moved")) == 2


def test_a_lost_broker_is_told_once_by_each_part_that_misses_it_and_so_is_its_return(
    talking: WorkerFleet, own_broker: Valkey
) -> None:
    worker = talking.start("w1")
    first(worker, "worker.ready")
    own_broker.kill()
    first(worker, "broker.trouble")
    first(worker, "broker.heartbeat")
    own_broker.start()
    first(worker, "broker.trouble.over")
    first(worker, "broker.heartbeat.over")

    said = [(record["event"], record.get("reason")) for record in records(worker)]
    said = [(event, reason) for event, reason in said if event not in {"shards.moved", None}]
    assert len(said) == len(set(said)), "a cause is told once; another one, such as of the next try, once too"
    assert {event for event, _ in said} == {
        "broker.heartbeat",
        "broker.heartbeat.over",
        "broker.trouble",
        "broker.trouble.over",
        "worker.ready",
    }
    lost = first(worker, "broker.trouble")
    assert lost["reason"].startswith(f"the broker at {own_broker.url} is away: ")
    with sender(own_broker, SHARDS) as send:
        assert send.final(send.commit("acme", "ann"))["status"] == "SUCCESS"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_an_end_is_told_when_it_begins_and_with_what_was_handed_over(
    talking: WorkerFleet, own_broker: Valkey, name: str
) -> None:
    worker = talking.start("w1")
    with own_broker.client(1) as effects, sender(own_broker, SHARDS) as send:
        effects.set("hold:acme/ann", 1)
        send.commit("acme", "ann")
        wait_for(lambda: effects.llen("begun"), "the first request to begin")
        for _ in range(3):
            send.commit("acme", "ann")
        wait_for(
            lambda: own_broker.client().hlen(unacked_key(queue_name(shard_of("acme", "ann", SHARDS)))) == 4,
            "all to be taken",
        )
        worker.process.send_signal(signal.Signals[name])
        stopping = first(worker, "worker.stopping")
        effects.delete("hold:acme/ann")
        ended = worker.process.wait(20)

    assert ended == 0, "as it was asked to"
    assert (stopping["reason"], stopping["running"]) == (name, 1)
    stopped = first(worker, "worker.stopped")
    assert (stopped["handed_over"], stopped["cut_off"], stopped["shards"]) == (3, 0, SHARDS)
    assert stopped["level"] == "INFO"


def test_what_a_hurried_end_cuts_off_is_told(talking: WorkerFleet, own_broker: Valkey) -> None:
    worker = talking.start("w1")
    with own_broker.client(1) as effects, sender(own_broker, SHARDS) as send:
        effects.set("hold:acme/ann", 1)
        send.commit("acme", "ann")
        wait_for(lambda: effects.llen("begun"), "the request to begin")
        worker.terminate()
        first(worker, "worker.stopping")
        worker.terminate()
        assert worker.process.wait(20) == 1

    stopped = first(worker, "worker.stopped")
    assert (stopped["level"], stopped["cut_off"]) == ("WARNING", 1)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGQUIT])
def test_one_of_several_processes_is_hurried_by_the_one_above_it_alone(
    second: signal.Signals, talking: WorkerFleet, own_broker: Valkey
) -> None:
    worker = talking.start("w1", supervised=True)
    with own_broker.client(1) as effects, sender(own_broker, SHARDS) as send:
        effects.set("hold:acme/ann", 1)
        sent = send.commit("acme", "ann")
        wait_for(lambda: effects.llen("begun"), "the request to begin")
        worker.terminate()
        first(worker, "worker.stopping")
        worker.process.send_signal(second)  # as of a process group, or of all that a service has
        if second == signal.SIGQUIT:
            assert worker.process.wait(20) == 1
        else:
            wait_for(lambda: not pending_signal(worker), "the signal to be taken")
            effects.delete("hold:acme/ann")
            assert worker.process.wait(20) == 0
            assert send.final(sent)["status"] == "SUCCESS"

    assert first(worker, "worker.stopped")["cut_off"] == (second == signal.SIGQUIT)


@pytest.mark.parametrize(
    ("signals", "waits_s", "busy"),
    [(1, 0, False), (1, 0, True), (2, 600, True)],
    ids=["idle", "busy", "hurried"],
)
def test_a_worker_ends_though_its_broker_is_silent_and_another_takes_over(
    signals: int, waits_s: int, busy: bool, talking: WorkerFleet, own_broker: Valkey
) -> None:
    worker = talking.start("w1", soft_shutdown_timeout_s=waits_s)
    with own_broker.client(1) as effects, sender(own_broker, SHARDS) as send:
        if busy:
            effects.set("down", 1)
        sent = send.commit("acme", "ann")
        wait_for(
            lambda: retrying(send, sent) if busy else send.final(sent), "the request to be done, or to wait"
        )
        own_broker.freeze()
        for _ in range(signals):
            worker.terminate()
            wait_for(lambda: not pending_signal(worker), "the signal to be taken")
        try:
            assert worker.process.wait(40) == 1
        finally:
            own_broker.thaw()
        effects.delete("down")
        talking.start("w2")
        assert send.final(sent)["status"] == "SUCCESS"
        assert send.final(send.commit("acme", "ann"))["status"] == "SUCCESS"

    cut_off = first(worker, "worker.cut_off")
    assert cut_off["level"] == "WARNING"


def pending_signal(worker: WorkerProcess) -> bool:
    """Return whether a signal waits to be delivered: two of a kind would be one."""
    status = Path(f"/proc/{worker.pid}/status").read_text()
    waiting = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(waiting, 16) & (1 << (signal.SIGTERM - 1)))


def test_what_a_message_says_of_itself_cannot_forge_a_line(talking: WorkerFleet, own_broker: Valkey) -> None:
    worker = talking.start("w1", log_format="text")
    with sender(own_broker, SHARDS) as send:
        forged = "application/json\n2026-11-26T00:00:00.000Z ERROR forged\x1b[31m"
        send.producer.publish(
            b"x", exchange="", routing_key=queue_name(0), content_type=forged, serializer=None
        )
        wait_for(lambda: "refused a message" in worker.output, "it to be refused")

    assert all(line.isprintable() for line in worker.output.splitlines())
    assert not [
        line for line in worker.output.splitlines() if "ERROR forged" in line and "refused" not in line
    ]
    assert r"\n2026-11-26T00:00:00.000Z ERROR forged\x1b[31m" in worker.output
