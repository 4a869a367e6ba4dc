"""The backends that must keep the store's contract. A new one joins with an address and a line in ``SHARED``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from tests.conformance.racers import RacingProcesses, racing_processes
from tests.support.gcs_server import GcsServer
from tests.support.seaweedfs import SeaweedFs

OPTIONS = StoreOptions(connections_max=16, connect_timeout_s=5, read_timeout_s=20)

Address = Callable[[str], str]
"""From a prefix to the address of a store that shares nothing with other prefixes."""


@pytest.fixture(scope="session")
def s3_server(s3_server: SeaweedFs) -> Iterator[SeaweedFs]:
    """The same, and this process is let in."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in s3_server.environment.items():
            environment.setenv(name, value)
        yield s3_server


@pytest.fixture(scope="session")
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local")


def _s3(request: pytest.FixtureRequest) -> Address:
    server: SeaweedFs = request.getfixturevalue("s3_server")
    return server.store_url


def _gcs(request: pytest.FixtureRequest) -> Address:
    server: GcsServer = request.getfixturevalue("gcs_server")
    return server.store_url


def _local(request: pytest.FixtureRequest) -> Address:
    folder: Path = request.getfixturevalue("local_folder")
    return lambda prefix: (folder / prefix).as_uri()


MEMORY = "memory"
SHARED = {"local": _local, "s3": _s3, "gcs": _gcs}
"""Those that several processes can open."""


def _address(request: pytest.FixtureRequest) -> str:
    return SHARED[request.param](request)(uuid.uuid4().hex)


@pytest.fixture(params=(MEMORY, *SHARED))
def store(request: pytest.FixtureRequest) -> Store:
    """A new, empty store."""
    if request.param == MEMORY:
        return MemoryStore()
    return open_store(_address(request), OPTIONS)


@pytest.fixture(params=SHARED)
def shared_address(request: pytest.FixtureRequest) -> str:
    """The address of a new, empty store that other processes can open."""
    return _address(request)


@pytest.fixture(scope="session")
def processes(s3_server: SeaweedFs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RacingProcesses]:
    with racing_processes(tmp_path_factory.mktemp("racers"), s3_server.environment) as racing:
        yield racing
