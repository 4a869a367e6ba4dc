"""What a worker writes to its log while it serves, as an operator reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import HANDLER, SHARDS
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


def told(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    """Return the records of one kind of event."""
    return [record for record in records(worker) if record["event"] == event]


def first(worker: WorkerProcess, event: str) -> dict[str, Any]:
    """Wait for an event and return its first record."""
    return wait_for(lambda: told(worker, event), f"{worker.name} to tell {event}")[0]


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
    assert len(told(worker, "worker.ready")) == 1


def test_a_warning_level_leaves_a_healthy_worker_silent(talking: WorkerFleet, own_broker: Valkey) -> None:
    worker = talking.start(log_level="ERROR")
    wait_for(
        lambda: own_broker.client().hlen("memrepo:owners") == SHARDS, "the worker to have taken its shards"
    )
    worker.terminate()
    worker.process.wait(20)

    assert worker.output == ""
