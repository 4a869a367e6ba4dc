"""Worker processes for tests, with a handler of the test's choice."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.settings import WorkerSettings
from tests.support.host import import_path
from tests.support.warm import Running, is_allowed, start

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class WorkerProcess:
    """A running worker."""

    name: str
    process: Running
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.terminate()

    def pause(self) -> None:
        """Freeze it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    @property
    def output(self) -> str:
        """What it wrote so far."""
        return self.log.read_text(errors="replace")


@dataclass
class WorkerFleet:
    """Starts workers and ends those that are left."""

    folder: Path
    settings: WorkerSettings
    handler: str
    argument: Any = None
    workers: list[WorkerProcess] = field(default_factory=list)

    def start(self, name: str | None = None, *, supervised: bool = False, **overrides: Any) -> WorkerProcess:
        """Start one more worker, as a supervisor does or by itself; ``overrides`` are settings."""
        name = name or f"w{len(self.workers)}"
        cache = {} if self.settings.cache_dir.is_absolute() else {"cache_dir": self.folder / "cache"}
        settings = {**asdict(self.settings), **cache, **overrides}
        settings["limits"] = asdict(self.settings.limits)
        job = {"settings": settings, "handler": self.handler, "argument": self.argument, "name": name}
        job["supervised"] = supervised
        log = self.folder / f"{name}.log"
        env = {**environment(), "PYTHONPATH": import_path(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as output:
            worker = WorkerProcess(name, self._begin(json.dumps(job, default=str), env, output), log)
        self.workers.append(worker)
        return worker

    @staticmethod
    def _begin(job: str, env: Mapping[str, str], output: IO[bytes]) -> Running:
        if not is_allowed():
            program = [sys.executable, "-m", "tests.support.worker_process", job]
            return Processes(Counters()).start(program, env=env, stdout=output, stderr=output, cwd=ROOT)
        return start("worker", ["worker_process", job], env=env, stdout=output, stderr=output, cwd=ROOT)


def file_fleet(
    folder: Path, settings: WorkerSettings, done: Path, delay_s: float = 0.0
) -> AbstractContextManager[WorkerFleet]:
    """Workers of a service that takes so long for a request, and leaves a file for each in ``done``, which is made."""
    done.mkdir(exist_ok=True)
    argument = {"folder": str(done), "delay_s": delay_s}
    return fleet(folder, settings, "tests.support.file_service:file_service", argument)


@contextmanager
def fleet(
    folder: Path, settings: WorkerSettings, handler: str, argument: Any = None
) -> Iterator[WorkerFleet]:
    """Give a fleet whose workers are all gone when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    running = WorkerFleet(folder, settings, handler, argument)
    try:
        yield running
    finally:
        for worker in running.workers:
            worker.process.kill()
            worker.process.wait()
