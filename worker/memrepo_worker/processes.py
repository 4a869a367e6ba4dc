"""The one door to other processes: the only importer of ``subprocess``.

Every process runs from an argument list (never a shell), with an environment that the caller gives whole.
"""

from __future__ import annotations

import resource
import signal
import subprocess  # noqa: TID251 - this is the door
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread, Timer
from typing import IO

from memrepo_worker.observe import Observer

Process = subprocess.Popen[bytes]


class ProcessFailedError(Exception):
    """A process ended with another code than 0, or was not over in time. The message ends with its stderr."""


class ProcessOverBoundsError(ProcessFailedError):
    """A process would have used more than its bounds allow."""


class ProcessOverCpuError(ProcessOverBoundsError):
    """The bound was that of processor time."""


@dataclass(frozen=True, slots=True)
class ProcessBounds:
    """What a process may use before it is killed; None is no bound.

    ``cpu_s`` is held by the kernel where it can bound another process (Linux); elsewhere only ``timeout_s`` ends it.
    """

    cpu_s: int | None = None
    output_bytes_max: int | None = None


UNBOUNDED = ProcessBounds()


@dataclass(frozen=True)
class Processes:
    """Runs processes, and counts each as ``process.started``."""

    observer: Observer

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        stdin: bytes = b"",
        cwd: Path | None = None,
        bounds: ProcessBounds = UNBOUNDED,
    ) -> bytes:
        """Run a process to its end and return its standard output.

        Raises:
            ProcessFailedError: it is not installed, failed, took longer than ``timeout_s``, or was over its bounds
                (then it was killed).
        """
        self.observer.count("process.started")
        with TemporaryFile() as said:  # a file cannot fill up unread, as a pipe does
            try:
                process = subprocess.Popen(
                    list(arguments),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=dict(env),
                    cwd=cwd,
                )
            except OSError as error:
                raise ProcessFailedError(f"{arguments[0]} cannot be started: {error.strerror}") from error
            with process:
                _limit_cpu(process.pid, bounds.cpu_s)
                output = _Conversation(process, arguments[0], stdin).end(timeout_s, bounds.output_bytes_max)
            if process.returncode != 0:
                said.seek(0)
                raise _failure(arguments, process.returncode, said.read(), bounds)
        return output

    def start(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a process that goes on, in a session of its own, so that Ctrl+C in a terminal reaches us alone.

        The caller ends it (``terminate``, then ``wait``).
        """
        self.observer.count("process.started")
        return subprocess.Popen(
            list(arguments),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )


class _Conversation:
    """Feeds a process and reads it at the same time, until it ends or has to be ended."""

    def __init__(self, process: Process, name: str, stdin: bytes) -> None:
        self._process = process
        self._name = name
        self._stdin = stdin
        self._late = Event()

    def end(self, timeout_s: float, output_bytes_max: int | None) -> bytes:
        """Return what the process wrote, once it is over."""
        feeder = Thread(target=self._feed, daemon=True)
        timer = Timer(timeout_s, self._give_up)
        feeder.start()
        timer.start()
        try:
            output = self._read(output_bytes_max)
            self._process.wait()
        finally:
            timer.cancel()
            self._process.kill()
            feeder.join()
        if self._late.is_set():
            raise ProcessFailedError(f"{self._name} took longer than {timeout_s} s and was killed")
        return output

    def _feed(self) -> None:
        assert self._process.stdin is not None
        with suppress(
            BrokenPipeError
        ):  # it ended without reading all: its exit code says whether that is a fault
            try:
                self._process.stdin.write(self._stdin)
            finally:
                self._process.stdin.close()

    def _give_up(self) -> None:
        self._late.set()
        self._process.kill()

    def _read(self, output_bytes_max: int | None) -> bytes:
        assert self._process.stdout is not None
        if output_bytes_max is None:
            return self._process.stdout.read()
        output = self._process.stdout.read(output_bytes_max + 1)
        if len(output) > output_bytes_max:
            raise ProcessOverBoundsError(
                f"{self._name} wrote more than {output_bytes_max} bytes and was killed"
            )
        return output


def _limit_cpu(pid: int, cpu_s: int | None) -> None:
    if cpu_s is None or not hasattr(resource, "prlimit"):
        return
    with suppress(ProcessLookupError):  # it is over already
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


def _failure(arguments: Sequence[str], code: int, said: bytes, bounds: ProcessBounds) -> ProcessFailedError:
    if code == -signal.SIGXCPU:
        return ProcessOverCpuError(
            f"{arguments[0]} used more than {bounds.cpu_s} s of processor time and was killed"
        )
    last = said.decode(errors="replace").strip()[-2000:]
    return ProcessFailedError(f"{' '.join(arguments[:2])} exited with {code}: {last}")
