"""Cells for tests: a real Valkey each, with a worker as users run it, over one folder as the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memrepo import Settings
from memrepo.settings import environment
from tests.support.commands import MEMREPO, Ended, memrepo
from tests.support.host import inherited
from tests.support.started import started
from tests.support.valkey import Valkey, begun


@dataclass
class Cells:
    """Cells by name; those that were begun end with ``stack``. ``env`` is of every worker and command."""

    folder: Path
    stack: ExitStack
    env: Mapping[str, str] = field(default_factory=dict)
    servers: dict[str, Valkey] = field(default_factory=dict)

    @property
    def store_folder(self) -> Path:
        """Where all memories lie."""
        return self.folder / "store"

    def begin_server(self, name: str) -> Valkey:
        """Start the Redis of a cell that has no worker yet."""
        server = self.servers[name] = begun(self.folder / f"valkey-{name}")
        self.stack.callback(server.stop)
        return server

    def begin_worker(self, name: str, listed: Sequence[str]) -> None:
        """Start a worker of a cell, which knows of those cells, and wait until it serves all shards."""
        folder = self.folder / f"worker-{name}-{'-'.join(listed)}"
        folder.mkdir()
        env = {**self.variables(listed), "MEMREPO_CELL": name, "MEMREPO_CACHE_DIR": str(folder / "cache")}
        ready = self.servers[name].client()
        self.stack.callback(ready.close)
        worker = started(
            [MEMREPO, "worker"],
            folder=folder,
            ready=lambda: int(ready.hlen("memrepo:owners")) == 64,
            env=env,
            timeout_s=120,
        )
        self.stack.enter_context(worker)

    def listing(self, names: Sequence[str]) -> str:
        """Return the list of some cells, as ``MEMREPO_CELLS`` has it."""
        return " ".join(f"{name}={self.servers[name].url}" for name in names)

    def variables(self, listed: Sequence[str]) -> dict[str, str]:
        """Return the environment of who knows of those cells."""
        return {
            "PATH": environment()["PATH"],
            **inherited(),
            "MEMREPO_CELLS": self.listing(listed),
            "MEMREPO_STORE_URL": self.store_folder.as_uri(),
            **self.env,
        }

    def settings(self, listed: Sequence[str]) -> Settings:
        """Return a producer's settings that know of those cells."""
        return Settings(
            cells=self.listing(listed), resend_after_s=2, poll_interval_s=0.3, enqueue_timeout_s=30
        )

    def run(self, *command: str, listed: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Ended:
        """Run a command that knows of those cells; ``env`` is set besides."""
        folder = self.folder / "commands"
        folder.mkdir(exist_ok=True)
        return memrepo(*command, folder=folder, env={**self.variables(listed), **(env or {})})


@contextmanager
def running_cells(
    folder: Path, names: Sequence[str], env: Mapping[str, str] | None = None
) -> Iterator[Cells]:
    """Run some cells, each with a worker, until the block ends."""
    with ExitStack() as stack:
        cells = Cells(folder, stack, env or {})
        for name in names:
            cells.begin_server(name)
        for name in names:
            cells.begin_worker(name, names)
        yield cells
