"""The ``memrepo`` command as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from memrepo.settings import environment
from tests.support.host import inherited
from tests.support.waiting import wait_for
from tests.support.warm import PROGRAM, Running, begin

MEMREPO = PROGRAM


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    stdout: str
    stderr: str


def memrepo(
    *arguments: str,
    folder: Path,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 90,
    program: str = MEMREPO,
) -> Ended:
    """Run a command to its end in ``folder``; of the environment it has only ``PATH``, and ``env``.

    ``program`` is another environment's command.
    """
    with running(*arguments, folder=folder, env=env, program=program) as process:
        code = process.wait(timeout_s)
    return Ended(code, (folder / "stdout").read_text(), (folder / "stderr").read_text())


@contextmanager
def running(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None, program: str = MEMREPO
) -> Iterator[Running]:
    """Run a command until the block ends; what it says goes to the files ``stdout`` and ``stderr`` of ``folder``."""
    process = _start((program, *arguments), folder, env, folder / "stdout", folder / "stderr")
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Up:
    """A running ``memrepo up``: what it told, and its processes as the kernel lists them."""

    process: Running
    told: Mapping[str, Any]
    tree: list[psutil.Process]
    stderr: Path

    @property
    def broker_url(self) -> str:
        """The broker's address."""
        return str(self.told["broker_url"])

    @property
    def folder(self) -> Path:
        """Where it was started."""
        return self.stderr.parent

    def child(self, name: str) -> psutil.Process:
        """Return one of its children by its part in the system."""
        return next(child for child in self.tree if child.pid == self.told["pids"][name])

    def log(self, name: str) -> Path:
        """Return where one of its children writes."""
        return self.folder / "memrepo-data" / "run" / f"{name}.log"

    def runs(self, name: str) -> bool:
        """Tell whether one of its children still runs."""
        return runs_now(self.child(name))

    def left_running(self) -> list[int]:
        """Return those of its processes that still run."""
        return [child.pid for child in self.tree if runs_now(child)]


def runs_now(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has looked at yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def up(
    folder: Path, *options: str, env: Mapping[str, str] | None = None, program: str = MEMREPO
) -> Iterator[Up]:
    """Run ``memrepo up`` in ``folder`` until the block ends, at ports that nobody else asks for."""
    arguments = (program, "up", "--json", "--port", "0", *options)
    with _running(arguments, folder, {"MEMREPO_FLOWER_PORT": "0", **(env or {})}) as (process, line, tree):
        yield Up(process, json.loads(line), tree, folder / "up.stderr")


@contextmanager
def up_in_words(folder: Path) -> Iterator[str]:
    """Run ``memrepo up`` in ``folder``, at the usual ports if they are free; yield what it tells a person."""
    with _running((MEMREPO, "up"), folder, None) as (_, told, _):
        yield told


@contextmanager
def _running(
    arguments: tuple[str, ...], folder: Path, env: Mapping[str, str] | None
) -> Iterator[tuple[Running, str, list[psutil.Process]]]:
    folder.mkdir(parents=True, exist_ok=True)
    out, err = folder / "up.stdout", folder / "up.stderr"
    process = _start(arguments, folder, env, out, err)
    tree: list[psutil.Process] = []
    try:
        told = wait_for(lambda: _told(process, out, err), "memrepo up to be ready", timeout_s=60)
        tree = psutil.Process(process.pid).children(recursive=True)
        yield process, told, tree
    finally:
        for running in [*tree, psutil.Process(process.pid)] if process.poll() is None else tree:
            if running.is_running():
                running.kill()
        process.wait()


def _told(process: Running, out: Path, err: Path) -> str | None:
    text = out.read_text()
    assert text.endswith("\n") or process.poll() is None, err.read_text()
    return text if text.endswith("\n") else None


def _start(
    arguments: tuple[str, ...], folder: Path, env: Mapping[str, str] | None, out: Path, err: Path
) -> Running:
    with out.open("wb") as stdout, err.open("wb") as stderr:
        return begin(
            arguments,
            env={"PATH": environment()["PATH"], **inherited(), **(env or {})},
            cwd=folder,
            stdout=stdout,
            stderr=stderr,
        )
