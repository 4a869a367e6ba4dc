"""Processes of workers and commands that begin at once: made of one that has loaded everything (``warm_program``).

A start of a worker takes 0.7 s of processor time, and all but a tenth of it is imports. What is about the start itself,
or about a program's own process, runs the program: see ``tests.support.started``.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, Protocol

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.host import import_path, inherited
from tests.support.waiting import wait_for
from tests.support.warm_program import LENGTH, SAID, Order

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sysconfig.get_path("scripts")) / "memrepo")
"""Users' own: the command ``memrepo``."""
_OF_A_START = {"PYTHONPATH", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONASYNCIODEBUG", "PYTHONHOME"}
"""Variables that Python reads as it starts."""


class Running(Protocol):
    """What tests do with a process."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Return how it ended, if it has."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


@dataclass
class WarmProcess:
    """One of them."""

    arguments: Sequence[str]
    pid: int
    _connection: socket.socket
    _code: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> int | None:
        """Return how it ended, if it has."""
        with self._lock, suppress(TimeoutError):
            self._hear(0.0, b"x")
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._code is None:
            with self._lock, suppress(TimeoutError):  # for a while only: another thread may want to end it
                self._hear(0.05, b"x")
            if deadline is not None and time.monotonic() > deadline and self.poll() is None:
                raise subprocess.TimeoutExpired(self.arguments, timeout or 0.0)
        return self._code

    def send_signal(self, sig: int) -> None:
        """Send it a signal, if it runs; return when it was sent."""
        with self._lock:
            if self._code is None:
                with suppress(BrokenPipeError):
                    self._connection.sendall(bytes([sig]))
                    self._hear(None, b"k")

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _hear(self, timeout: float | None, wanted: bytes) -> None:
        """Hear until what is wanted was said, or how it ended."""
        while self._code is None:
            self._connection.settimeout(timeout)
            try:
                kind, number = SAID.unpack(self._connection.recv(SAID.size, socket.MSG_WAITALL))
            except BlockingIOError:
                raise TimeoutError from None
            if kind == b"x":
                self._code = number
            if kind == wanted:
                return


@dataclass
class _Program:
    """The one of this process, once somebody has asked for a process."""

    process: subprocess.Popen[bytes]
    socket: Path

    def ask(self, order: Order, stdout: IO[bytes], stderr: IO[bytes]) -> WarmProcess:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.socket))
        told = json.dumps(order).encode()
        socket.send_fds(connection, [LENGTH.pack(len(told))], [stdout.fileno(), stderr.fileno()])
        connection.sendall(told)
        _, pid = SAID.unpack(connection.recv(SAID.size, socket.MSG_WAITALL))
        return WarmProcess(order["arguments"], pid, connection)


_programs: list[_Program] = []
_allowed = [False]


def begin(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    stdout: IO[bytes],
    stderr: IO[bytes],
    cwd: Path | None = None,
) -> Running:
    """Start a program: ``memrepo`` from what is loaded, but for what starts programs of its own, or is in a host."""
    alone = {"up", "flower", "--processes"}.intersection(arguments) or _OF_A_START.intersection(env)
    if arguments[0] != PROGRAM or alone or not is_allowed():
        return Processes(Counters()).start(arguments, env=env, cwd=cwd, stdout=stdout, stderr=stderr)
    return start("memrepo", arguments, env=env, cwd=cwd or Path.cwd(), stdout=stdout, stderr=stderr)


def allow(yes: bool) -> None:
    """Say whether processes may begin warm from now on; nobody may where nothing was said."""
    _allowed[0] = yes


def is_allowed() -> bool:
    """Tell whether they may; inside a host they may not, whose modules a program finds as it starts."""
    return _allowed[0] and not inherited()


def start(
    entry: str,
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> WarmProcess:
    """Start a process of an entry of ``warm_program``; its standard input is empty."""
    if not _programs:
        _programs.append(_begin())
    order: Order = {"entry": entry, "arguments": [*arguments], "env": {**env}, "cwd": str(cwd.resolve())}
    return _programs[0].ask(order, stdout, stderr)


def end() -> None:
    """End the program, and with it what it has made."""
    while _programs:
        program = _programs.pop()
        assert program.process.stdin is not None
        program.process.stdin.close()
        program.process.wait()
        shutil.rmtree(program.socket.parent)


def _begin() -> _Program:
    path = Path(mkdtemp()) / "socket"
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("warm_program.py")), str(path)],
        env={"PATH": environment()["PATH"], "PYTHONPATH": import_path(ROOT)},
        cwd=ROOT,
        stdin=subprocess.PIPE,
    )
    wait_for(lambda: path.exists() or process.poll() is not None, "all to be loaded", 60)
    assert process.poll() is None
    return _Program(process, path)
