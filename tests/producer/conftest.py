from __future__ import annotations

from collections.abc import Iterator

import pytest

from memrepo import MemoryRepo, MemoryRepos, Settings
from tests.producer.stand_in import StandIn
from tests.support.valkey import Valkey, valkey


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One Valkey for all tests that do not harm it."""
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture(scope="session")
def server(shared_server: Valkey) -> Valkey:
    """The same, where a file has none of its own."""
    return shared_server


@pytest.fixture(scope="session", autouse=True)
def everything_is_imported(shared_server: Valkey) -> None:
    """Load what is loaded late, once: it takes longer than some of the time-outs here."""
    with MemoryRepos(broker_url=shared_server.url) as repos:
        repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()


@pytest.fixture
def broker(server: Valkey) -> Valkey:
    """The same, empty."""
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
def settings(broker: Valkey) -> Settings:
    return Settings(broker_url=broker.url, result_url=broker.url)


@pytest.fixture
def repos(settings: Settings) -> Iterator[MemoryRepos]:
    with MemoryRepos(settings=settings) as client:
        yield client


@pytest.fixture
def repo(repos: MemoryRepos) -> MemoryRepo:
    return repos.repo(org_id="acme", agent_id="agent-1")


@pytest.fixture
def worker(broker: Valkey) -> Iterator[StandIn]:
    """Answers every request with a sha, unless told otherwise."""
    with StandIn(broker) as running:
        yield running
