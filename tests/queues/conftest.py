from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from memrepo_worker.settings import WorkerSettings
from tests.support.idle import requests_left
from tests.support.posts import Post, posts
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, fleet

SHARDS = 4
EFFECTS = 1
"""The database in which the shared worker keeps what it did."""
HANDLER = "tests.support.fake_service:fake_service"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for all tests that do not harm it."""
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def settings(broker: Valkey) -> WorkerSettings:
    return WorkerSettings(
        broker_url=broker.url, result_url=broker.url, shards=SHARDS, group_requests_max=50, concurrency=4
    )


@pytest.fixture(scope="session")
def workers(
    broker: Valkey, settings: WorkerSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerFleet]:
    """One running worker for all tests that do not harm it."""
    with fleet(tmp_path_factory.mktemp("workers"), settings, HANDLER, broker.database(EFFECTS)) as running:
        one = running.start()
        wait_for(lambda: "ready: " in one.output, "the worker to be ready", 60)
        yield running


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A request that a test leaves in the shared broker would be served while another looks: it fails its own.

    The databases that are no shared worker's are empty for each.
    """
    if "broker" not in request.fixturenames:
        yield
        return
    server: Valkey = request.getfixturevalue("broker")
    yield
    with server.client() as client:
        wait_for(lambda: not requests_left(client), "all that the test has enqueued to be served", 60)
        numbers = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    for number in numbers:
        if number not in (0, EFFECTS):
            with server.client(number) as client:
                client.flushdb()


@pytest.fixture
def effects(broker: Valkey) -> Iterator[redis.Redis]:
    """What the service did: an empty database at the start of each test, and at its end nothing is held."""
    with broker.client(EFFECTS) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def send(broker: Valkey, workers: WorkerFleet, effects: redis.Redis) -> Iterator[Sender]:
    with sender(broker, SHARDS) as sending:
        yield sending


@pytest.fixture
def open_post() -> Iterator[Callable[..., Post]]:
    """Open mailboxes that are driven by hand."""
    with posts() as open_one:
        yield open_one
