"""Every test here runs on the whole system over each store, and on both inline clients: one suite, one behaviour.

Over the stores that are servers a test of many values runs with the first of them alone, unless LONG=1 asks for all:
what another value is answered with does not depend on where objects lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from memrepo import MemoryRepo, MemoryRepos
from memrepo.settings import environment
from memrepo_worker.testing import async_inline_repos, inline_repos
from tests.support.gcs_server import GcsServer
from tests.support.loop_in_a_thread import as_if_blocking
from tests.support.seaweedfs import SeaweedFs
from tests.support.systems import running_worker
from tests.support.valkey import valkey

SYSTEMS = ("inline", "inline_asyncio", "local", "s3", "gcs")
SERVERS = ("s3", "gcs")
_AGENTS = count(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out a test over a server that is there with other values already."""
    if environment().get("LONG") == "1":
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    seen: set[str] = set()
    for item in items:
        test = _test_over_a_server(item)
        (left_out if test in seen else kept).append(item)
        seen |= {test} - {""}
    config.hook.pytest_deselected(items=left_out)
    items[:] = kept


def _test_over_a_server(item: pytest.Item) -> str:
    """Return which test of this folder an item is, and over which server; nothing where it is another."""
    values = getattr(item, "callspec", None)
    server = values.params.get("repos") if values and Path(__file__).parent in item.path.parents else None
    return f"{item.nodeid.partition('[')[0]} {server}" if server in SERVERS else ""


@pytest.fixture(scope="session", params=SYSTEMS)
def repos(request: pytest.FixtureRequest) -> MemoryRepos:
    """Each of the systems below: a fixture by itself, since pytest would end what has parameters at every file."""
    repos: MemoryRepos = request.getfixturevalue(f"on_{request.param}")
    return repos


@pytest.fixture(scope="session")
def on_inline() -> Iterator[MemoryRepos]:
    with inline_repos() as repos:
        yield repos


@pytest.fixture(scope="session")
def on_inline_asyncio() -> Iterator[MemoryRepos]:
    with async_inline_repos() as repos, as_if_blocking(repos) as blocking:
        yield blocking


@pytest.fixture(scope="session")
def on_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryRepos]:
    folder = tmp_path_factory.mktemp("local")
    with _whole_system(folder, f"file://{folder / 'store'}") as repos:
        yield repos


@pytest.fixture(scope="session")
def on_s3(tmp_path_factory: pytest.TempPathFactory, s3_server: SeaweedFs) -> Iterator[MemoryRepos]:
    url, env = s3_server.store_url("functional"), s3_server.environment
    with _whole_system(tmp_path_factory.mktemp("s3"), url, env) as repos:
        yield repos


@pytest.fixture(scope="session")
def on_gcs(tmp_path_factory: pytest.TempPathFactory, gcs_server: GcsServer) -> Iterator[MemoryRepos]:
    with _whole_system(tmp_path_factory.mktemp("gcs"), gcs_server.store_url("functional")) as repos:
        yield repos


@contextmanager
def _whole_system(
    folder: Path, store_url: str, env: Mapping[str, str] | None = None
) -> Iterator[MemoryRepos]:
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, store_url, env=env) as system,
        MemoryRepos(broker_url=system.broker_url) as repos,
    ):
        yield repos


@pytest.fixture
def nobody(repos: MemoryRepos) -> MemoryRepo:
    """An agent without a memory."""
    return repos.repo(org_id="acme", agent_id=f"agent-{next(_AGENTS)}")


@pytest.fixture
def repo(nobody: MemoryRepo) -> MemoryRepo:
    """An agent with a new memory: one commit, ``human.md``."""
    nobody.create_repo({"human.md": "likes tea\n"}).result(timeout_s=20)
    return nobody
