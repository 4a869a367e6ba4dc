"""An upgrade finds queues, results and memories of the version before it, and goes on with all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memrepo import MemoryRepoError, MemoryRepos
from memrepo.cli.output import to_json
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.testing import inline_repos
from tests.compatibility.recording import Recording, says_at_least
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import fleet


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def broker(server: Valkey) -> Valkey:
    with server.client() as client:
        client.flushall()
    return server


def final_record(broker: Valkey, task_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        with broker.client() as client:
            record = json.loads(client.get(f"celery-task-meta-{task_id}") or "{}")
        return record if record.get("status") in ("SUCCESS", "FAILURE", "REVOKED") else None

    return wait_for(look, f"an end of {task_id}", 30)


def test_messages_are_served_with_the_same_results(
    recording: Recording, broker: Valkey, tmp_path: Path
) -> None:
    recording.put_queues(broker)
    cancelled = recording.jobs["cancelled"]
    with broker.client() as client:
        client.set(f"celery-task-meta-{cancelled}", json.dumps(recording.record("cancelled")))
    settings = WorkerSettings(broker_url=broker.url, result_url=broker.url)
    service = {"folder": str(tmp_path), "delay_s": 0.0, "now_s": recording.served_at_s}

    with fleet(tmp_path / "workers", settings, "tests.support.real_service:real_service", service) as workers:
        workers.start()
        served = {name: final_record(broker, task_id) for name, task_id in recording.jobs.items()}

    for name, record in served.items():
        earlier = recording.record(name)
        assert record["status"] == earlier["status"], name
        assert says_at_least(record["result"], earlier["result"]), name


def test_records_are_read_as_what_they_meant(recording: Recording, broker: Valkey) -> None:
    recording.put_records(broker)

    with MemoryRepos(broker_url=broker.url) as repos:
        for name, task_id in recording.jobs.items():
            record = recording.record(name)
            job = repos.job(task_id)
            if record["status"] == "SUCCESS":
                result = to_json(job.result(timeout_s=10))
                if "body" not in (record["result"] or ()):
                    assert says_at_least(result, record["result"]), name
            else:
                with pytest.raises(MemoryRepoError) as caught:
                    job.result(timeout_s=10)
                assert type(caught.value).__name__ == record["result"]["exc_type"], name
                assert [caught.value.message, caught.value.details] == record["result"]["exc_message"], name

        large = repos.job(recording.jobs["large files"]).result(timeout_s=10)
    assert large["large.md"].text.startswith("line 0: ")
    assert len(large["large.md"].text.splitlines()) == 2_200


def test_journals_are_opened_with_their_whole_history(recording: Recording, tmp_path: Path) -> None:
    store = open_store(recording.copy_store(tmp_path / "store"))

    with inline_repos(store=store, clock=lambda: recording.served_at_s) as repos:
        ann = repos.repo(org_id="acme", agent_id="ann")
        history = to_json(ann.get_history(limit=10).result())
        branches = to_json(ann.list_branches().result())
        found = to_json(ann.find_request("chosen-by-the-caller").result())
        bob = repos.repo(org_id="acme", agent_id="bob").get_files().result()

    assert says_at_least(history, recording.record("history")["result"])
    assert says_at_least(branches, recording.record("branches")["result"])
    assert says_at_least(found, recording.record("found")["result"])
    assert {path: file.text for path, file in bob.items()} == {"b.md": "b\n"}
