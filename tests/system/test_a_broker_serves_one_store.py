"""All workers of a broker serve one store: else an agent's memory would be split between two."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from memrepo import Job, MemoryRepos
from memrepo_worker.queues.leases.agreement import StoreRecord, claim_store, recorded_store
from memrepo_worker.queues.leases.status import live_workers
from tests.support.commands import memrepo
from tests.support.systems import System, running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

ID = r"[0-9a-f]{32}"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def served(broker: Valkey, tmp_path: Path) -> Iterator[System]:
    """A worker that serves a folder on a broker that it is the first to use."""
    broker.client().flushdb()
    with running_worker(tmp_path / "worker", broker, (tmp_path / "store").as_uri()) as system:
        yield system


def env_of(broker: Valkey, store: Path) -> Mapping[str, str]:
    return {
        "MEMREPO_BROKER_URL": broker.database(0),
        "MEMREPO_STORE_URL": store.as_uri(),
        "MEMREPO_CACHE_DIR": str(store.with_name("cache-of-another")),
    }


def test_a_worker_with_another_store_is_refused_with_both_named(
    served: System, broker: Valkey, tmp_path: Path
) -> None:
    with (
        valkey(tmp_path / "elsewhere") as elsewhere,
        running_worker(tmp_path / "w", elsewhere, (tmp_path / "other").as_uri()),
    ):
        pass
    env = env_of(broker, tmp_path / "other")
    refused, doctor = (memrepo(name, folder=tmp_path, env=env) for name in ("worker", "doctor"))

    assert refused.code == doctor.code == 2
    assert refused.stderr.count("\n") == 1
    for said in (refused.stderr, doctor.stdout):
        assert re.search(
            rf"MEMREPO_STORE_URL: names the store {ID} \({(tmp_path / 'other').as_uri()}\) here and this broker's "
            rf"workers serve {ID} \({served.store_url}\)",
            said,
        )
        assert "memrepo store accept" in said


def test_an_empty_folder_is_no_store_of_a_broker_that_has_one(
    served: System, broker: Valkey, tmp_path: Path
) -> None:
    (tmp_path / "unmounted").mkdir()
    env = env_of(broker, tmp_path / "unmounted")
    refused, doctor = (memrepo(name, folder=tmp_path, env=env) for name in ("worker", "doctor"))

    assert refused.code == doctor.code == 5
    for said in (refused.stderr, doctor.stdout):
        assert "has no identity, so it is not the store of this broker" in said
        assert served.store_url in said
    assert not list((tmp_path / "unmounted").rglob("*.json"))


def test_one_store_may_have_several_names(served: System, broker: Valkey, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    doctor = memrepo("doctor", folder=tmp_path, env=env_of(broker, tmp_path / "link"))

    assert doctor.code == 0
    assert re.search(rf"ok +store +{(tmp_path / 'link').as_uri()}, identity {ID}", doctor.stdout)


def test_the_store_that_is_served_is_shown(served: System, broker: Valkey, tmp_path: Path) -> None:
    shown = memrepo("shards", folder=tmp_path, env={"MEMREPO_BROKER_URL": served.broker_url}).stdout

    assert re.search(rf"^store: {ID} \({served.store_url}\)$", shown, re.MULTILINE)


def test_a_store_that_was_moved_is_named_by_its_new_address(broker: Valkey) -> None:
    client = broker.client()
    client.flushdb()
    claim_store(client, StoreRecord("0" * 32, "file:///old"))

    claim_store(client, StoreRecord("0" * 32, "file:///new"))
    assert recorded_store(client) == StoreRecord("0" * 32, "file:///new")

    client.config_set("maxmemory", 1)
    try:  # a broker that takes no write serves a worker that starts all the same
        claim_store(client, StoreRecord("0" * 32, "file:///newer"))
    finally:
        client.config_set("maxmemory", 0)
    assert recorded_store(client) == StoreRecord("0" * 32, "file:///new")


def retrying(job: Job[object]) -> Callable[[], bool]:
    return lambda: job.status() == "retrying"


def test_requests_wait_while_the_folder_is_exchanged_and_are_applied_when_it_is_back(
    served: System, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with MemoryRepos(broker_url=served.broker_url) as repos:
        warm, cold = (repos.repo(org_id="acme", agent_id=name) for name in ("warm", "cold"))
        warm.create_repo({"a.md": "1\n"}).result(timeout_s=20)
        store.rename(tmp_path / "away")
        store.mkdir()
        jobs = [warm.commit({"a.md": "2\n"}, "Learn"), cold.create_repo({"a.md": "1\n"})]
        for job in jobs:
            wait_for(retrying(job), "the request to wait for the store")
            assert "not the store that it was" in (job.describe().reason or "")
        assert not list(store.rglob("*.bundle"))

        store.rmdir()
        (tmp_path / "away").rename(store)
        for job in jobs:
            job.result(timeout_s=20)
        assert warm.get_files().result(timeout_s=20)["a.md"].text == "2\n"


def test_a_store_that_was_exchanged_on_purpose_is_accepted_without_workers(
    broker: Valkey, tmp_path: Path
) -> None:
    broker.client().flushdb()
    (tmp_path / "new").mkdir()
    env = env_of(broker, tmp_path / "new")
    with running_worker(
        tmp_path / "worker", broker, (tmp_path / "store").as_uri(), env={"MEMREPO_LEASE_S": "1"}
    ):
        early = memrepo("store", "accept", folder=tmp_path, env=env)
    wait_for(lambda: not live_workers(broker.client()), "the killed worker to count as dead")
    accepted = memrepo("store", "accept", "--json", folder=tmp_path, env=env)

    assert early.code == 4
    assert "stop all workers first" in early.stderr
    assert accepted.code == 0
    found = json.loads(accepted.stdout)
    assert found["url"] == (tmp_path / "new").as_uri()
    assert found["before"] not in (None, found["store"])
    with running_worker(tmp_path / "worker", broker, (tmp_path / "new").as_uri()):
        pass
