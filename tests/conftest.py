"""What every suite shares: one whole system for those that do it no harm, and a look at what is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from memrepo import MemoryRepos
from memrepo.settings import environment
from tests.support.host import running_inside
from tests.support.systems import System, running_worker
from tests.support.valkey import valkey

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("memrepo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("memrepo")


def pytest_configure() -> None:
    """Let Ctrl+C reach what tests start: where the suite runs in the background, shells have it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out, unless LONG=1 asks for them, and begin with the files that take longest."""
    items.sort(key=lambda item: "soak" not in item.path.parts)  # the longest first
    if environment().get("LONG") == "1":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Every process that a test starts ends with it."""
    yield
    assert psutil.Process().children(recursive=True) == []


@pytest.fixture(scope="session", autouse=True)
def inside_a_host(tmp_path_factory: pytest.TempPathFactory, nothing_left_running: None) -> Iterator[None]:
    """With ``HOST_SAYS=CASE`` all happens inside a host with a Celery of its own, whose broker nothing may reach."""
    case = environment().get("HOST_SAYS")
    if not case:
        yield
        return
    with running_inside(tmp_path_factory.mktemp("inside-a-host"), case):
        yield


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A broker, a worker and a local folder as the store."""
    folder = tmp_path_factory.mktemp("system")
    store: Path = folder / "memrepo-data" / "store"
    with (
        valkey(folder / "valkey") as broker,
        running_worker(folder / "worker", broker, store.as_uri()) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def memories(system: System) -> Iterator[MemoryRepos]:
    """A client of that system."""
    with MemoryRepos(broker_url=system.broker_url) as repos:
        yield repos
