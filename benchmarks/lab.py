"""Where benchmarks run: one Valkey and one SeaweedFS for all, a worker process for each."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from celery import Celery

from benchmarks.plain import NOTHING, PlainTasks
from memrepo import AsyncMemoryRepos, MemoryRepo, MemoryRepos, Settings
from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.seaweedfs import SeaweedFs, seaweedfs
from tests.support.started import started
from tests.support.valkey import Valkey, valkey
from tests.support.warm import Running

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ":".join(str(ROOT / folder) for folder in ("producer", "worker", "."))
"""Processes measure the checkout that this file lies in, whatever is installed."""

ORG = "bench"


@dataclass(frozen=True)
class Bench:
    """One worker and the ways to reach it."""

    settings: Settings
    repos: MemoryRepos
    plain: PlainTasks
    celery: Celery
    pid: int
    job: str
    """What its process was told."""

    def repo(self, agent_id: str) -> MemoryRepo:
        """Return one agent's memory, for code that may block."""
        return self.repos.repo(org_id=ORG, agent_id=agent_id)

    def counters(self) -> Counter[str]:
        """Return what the worker has counted."""
        replies = self.celery.control.broadcast("memrepo_counters", reply=True, timeout=5, limit=1)
        return Counter(next(iter(replies[0].values())))

    def asynchronous(self) -> AsyncMemoryRepos:
        """Return a client for asyncio."""
        return AsyncMemoryRepos(settings=self.settings)


@dataclass
class Lab:
    """The servers; ``long`` asks for the long forms, ``part`` for those parts of a row whose name holds it.

    ``out`` is where results go, ``histories`` where those are kept for other runs that take long to make.
    """

    folder: Path
    valkey: Valkey
    seaweedfs: SeaweedFs
    long: bool
    part: str = ""
    out: Path = Path("bench-results")
    histories: Path | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def worker(
        self,
        *,
        delay_s: float = 0.0,
        endpoint_url: str | None = None,
        refuses: Path | None = None,
        jobs: Path | None = None,
        **settings: object,
    ) -> Iterator[Bench]:
        """Run a worker on a broker's database and a store's prefix of its own until the block ends.

        ``delay_s`` is added to each of its requests to the store; the file ``refuses`` says whom the store refuses;
        in the file ``jobs`` it notes when its upkeep's jobs ran; ``settings`` are the worker's.
        """
        number = self.next_number()
        broker_url = self.valkey.database(number)
        folder = self.new_folder(f"worker-{number}")
        values = {
            "broker_url": broker_url,
            "result_url": broker_url,
            "store_url": self.seaweedfs.store_url(f"worker-{number}", endpoint_url),
            "cache_dir": str(folder / "cache"),
            **settings,
        }
        paths = {"refuses": str(refuses or ""), "jobs": str(jobs or "")}
        job = json.dumps({"settings": values, "delay_s": delay_s, **paths})
        client = Settings(broker_url=broker_url, result_url=broker_url)
        with ExitStack() as stack:
            plain = PlainTasks(client)
            stack.callback(plain.close)
            greeting = plain.send(NOTHING, [{}])[0]
            process = stack.enter_context(
                self.process("benchmarks.worker", job, folder=folder, ready=greeting.done)
            )
            repos = stack.enter_context(MemoryRepos(settings=client))
            celery = stack.enter_context(Celery(broker=broker_url, set_as_current=False))
            yield Bench(client, repos, plain, celery, process.pid, job)

    @contextmanager
    def second_worker(self, bench: Bench) -> Iterator[Running]:
        """Run another worker like one that runs, with a cache of its own, until the block ends."""
        folder = self.new_folder(f"worker-{self.next_number()}")
        job = json.loads(bench.job)
        job["settings"]["cache_dir"] = str(folder / "cache")
        with self.process("benchmarks.worker", json.dumps(job), folder=folder, ready=lambda: True) as process:
            yield process

    @contextmanager
    def process(
        self, module: str, job: str, *, folder: Path, ready: Callable[[], bool], timeout_s: float = 60.0
    ) -> Iterator[Running]:
        """Run one of our modules as a process of its own until the block ends; it gets ready in that time."""
        env = {"PATH": environment()["PATH"], "PYTHONPATH": SOURCES, **self.seaweedfs.environment}
        command = [sys.executable, "-m", module, job]
        with started(command, folder=folder, ready=ready, env=env, timeout_s=timeout_s) as process:
            yield process

    def run(self, module: str, job: Mapping[str, object], *, timeout_s: float) -> str:
        """Run one of our modules to its end, with a job as JSON; return what it printed."""
        env = {"PATH": environment()["PATH"], "PYTHONPATH": SOURCES, **self.seaweedfs.environment}
        command = [sys.executable, "-m", module, json.dumps(job)]
        return Processes(Counters()).run(command, env=env, timeout_s=timeout_s).decode()

    def next_number(self) -> int:
        """Return the number of a broker's database that nobody uses."""
        return next(self._numbers)

    def new_folder(self, name: str) -> Path:
        """Make a folder for a process."""
        folder = self.folder / name
        folder.mkdir()
        return folder


@contextmanager
def lab(folder: Path, *, long: bool) -> Iterator[Lab]:
    """Run the servers until the block ends."""
    with (
        valkey(folder / "valkey", "everysec", "--databases", "256") as broker,
        seaweedfs(folder / "seaweedfs") as store,
    ):
        yield Lab(folder, broker, store, long)
