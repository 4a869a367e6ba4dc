"""A worker that is told to end while its broker is away: it says how it ended, and others find all that waited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memrepo.clock import steady_clock
from memrepo.routing import queue_name, shard_of
from memrepo.wire.keys import unacked_key
from memrepo_worker.settings import WorkerSettings
from tests.support.sending import sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, fleet

SHARDS = 4
HANDLER = "tests.support.fake_service:fake_service"
SOFT_S = 3.0

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[Valkey]:
    """Where the service notes what it did: it stays when the broker goes."""
    with valkey(tmp_path / "effects") as server:
        yield server


@pytest.fixture
def workers(broker: Valkey, effects: Valkey, tmp_path: Path) -> Iterator[WorkerFleet]:
    settings = WorkerSettings(
        broker_url=broker.url,
        result_url=broker.url,
        shards=SHARDS,
        lease_s=1.0,
        cache_dir=tmp_path,
        log_format="json",
        soft_shutdown_timeout_s=SOFT_S,
    )
    with fleet(tmp_path / "logs", settings, HANDLER, effects.database(1)) as running:
        yield running


def told(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    whole = worker.output.rpartition("\n")[0]
    return [record for line in whole.splitlines() if (record := json.loads(line))["event"] == event]


def ready(workers: WorkerFleet) -> WorkerProcess:
    worker = workers.start()
    wait_for(lambda: told(worker, "worker.ready"), "the worker to be ready", timeout_s=60)
    return worker


def test_an_idle_one_says_that_its_leases_run_out_and_ends_with_0(
    workers: WorkerFleet, broker: Valkey
) -> None:
    worker = ready(workers)
    broker.kill()
    wait_for(lambda: told(worker, "broker.trouble"), "it to miss its broker", timeout_s=60)
    worker.terminate()

    assert worker.process.wait(60) == 0
    (stopping,) = told(worker, "worker.stopping")
    assert stopping["reason"] == "SIGTERM"
    (stopped,) = told(worker, "worker.stopped")
    assert (stopped["kept"], stopped["shards"], stopped["cut_off"]) == (SHARDS, 0, 0)
    assert (stopped["level"], stopped["exit_code"]) == ("WARNING", 0)
    assert f"the broker did not take {SHARDS} shards back" in stopped["message"]
    assert "nothing that was acknowledged is lost; exit code 0" in stopped["message"]


def test_a_busy_one_says_what_it_cut_off_within_its_time_and_the_next_settles_all(
    workers: WorkerFleet, broker: Valkey, effects: Valkey
) -> None:
    worker = ready(workers)
    with effects.client(1) as done, broker.client() as client, sender(broker, SHARDS) as send:
        done.set("hold:acme/ann", 1)
        sent = [send.commit("acme", "ann", "the first")]
        wait_for(lambda: done.llen("begun"), "the first to begin")
        sent += [send.commit("acme", "ann", message) for message in ("the second", "the third")]
        taken = unacked_key(queue_name(shard_of("acme", "ann", SHARDS)))
        wait_for(lambda: client.hlen(taken) == len(sent), "all to be taken")
        broker.kill()
        wait_for(lambda: told(worker, "broker.trouble"), "it to miss its broker", timeout_s=60)
        began_s = steady_clock()
        worker.terminate()
        done.delete("hold:acme/ann")  # it ends, and nobody can be told

        assert worker.process.wait(60) == 1
        assert (
            steady_clock() - began_s < SOFT_S + 40
        )  # of a busy machine: by its own time it takes 5 s more at most
        (end,) = told(worker, "worker.stopped") or told(worker, "worker.cut_off")
        assert (end["kept"], end["cut_off"] >= 1, end["exit_code"]) == (SHARDS, True, 1)
        assert "nothing that was acknowledged is lost" in end["message"]

        broker.start()
        ready(workers)
        assert [send.final(one)["status"] for one in sent] == ["SUCCESS"] * len(sent)
