"""Whole systems for tests: a broker, a worker as users run it, and a store; or the service inline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from memrepo import BrokerUnavailableError, MemoryRepos
from memrepo.settings import environment
from tests.support.commands import MEMREPO
from tests.support.host import inherited
from tests.support.started import started
from tests.support.valkey import Valkey


@dataclass(frozen=True)
class System:
    """A running worker and how to reach it. ``store_folder`` is there when the store is a local folder."""

    broker_url: str
    store_url: str
    store_folder: Path | None
    worker_pid: int


@contextmanager
def running_worker(
    folder: Path,
    valkey: Valkey,
    store_url: str,
    *,
    database: int = 0,
    env: Mapping[str, str] | None = None,
    program: str = MEMREPO,
) -> Iterator[System]:
    """Run ``memrepo worker``, this environment's or that of ``program``, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    broker_url = valkey.database(database)
    settings = {
        "PATH": environment()["PATH"],
        **inherited(),
        "MEMREPO_BROKER_URL": broker_url,
        "MEMREPO_STORE_URL": store_url,
        "MEMREPO_CACHE_DIR": str(folder / "cache"),
        **(env or {}),
    }
    with started(
        [program, "worker"], folder=folder, ready=lambda: _answers(broker_url), env=settings
    ) as process:
        store_folder = Path(store_url.removeprefix("file://")) if store_url.startswith("file://") else None
        yield System(broker_url, store_url, store_folder, process.pid)


def _answers(broker_url: str) -> bool:
    with MemoryRepos(broker_url=broker_url) as repos:
        try:
            repos.repo(org_id="probe", agent_id="probe").list_files().result(timeout_s=1)
        except (TimeoutError, BrokerUnavailableError):
            return False
        except FileNotFoundError:
            return True
    return True
