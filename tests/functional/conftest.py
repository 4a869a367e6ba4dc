"""Every test here runs on the whole system over each store, and on both inline clients: one suite, one behaviour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from memrepo import MemoryRepo, MemoryRepos
from memrepo_worker.testing import async_inline_repos, inline_repos
from tests.support.gcs_server import gcs_server
from tests.support.loop_in_a_thread import as_if_blocking
from tests.support.seaweedfs import seaweedfs
from tests.support.systems import running_worker
from tests.support.valkey import valkey

SYSTEMS = ("inline", "inline_asyncio", "local", "s3", "gcs")
_AGENTS = count(1)


@pytest.fixture(scope="session", params=SYSTEMS)
def repos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryRepos]:
    with ExitStack() as stack:
        if request.param == "inline":
            yield stack.enter_context(inline_repos())
            return
        if request.param == "inline_asyncio":
            yield stack.enter_context(as_if_blocking(stack.enter_context(async_inline_repos())))
            return
        folder = tmp_path_factory.mktemp(request.param)
        store_url, env = _store(request.param, folder, stack)
        broker = stack.enter_context(valkey(folder / "valkey"))
        system = stack.enter_context(running_worker(folder / "worker", broker, store_url, env=env))
        yield stack.enter_context(MemoryRepos(broker_url=system.broker_url))


def _store(name: str, folder: Path, stack: ExitStack) -> tuple[str, Mapping[str, str]]:
    if name == "local":
        return f"file://{folder / 'store'}", {}
    if name == "s3":
        server = stack.enter_context(seaweedfs(folder / "seaweedfs"))
        return server.store_url("functional"), server.environment
    return stack.enter_context(gcs_server(folder / "gcs")).store_url("functional"), {}


@pytest.fixture
def nobody(repos: MemoryRepos) -> MemoryRepo:
    """An agent without a memory."""
    return repos.repo(org_id="acme", agent_id=f"agent-{next(_AGENTS)}")


@pytest.fixture
def repo(nobody: MemoryRepo) -> MemoryRepo:
    """An agent with a new memory: one commit, ``human.md``."""
    nobody.create_repo({"human.md": "likes tea\n"}).result(timeout_s=20)
    return nobody
