"""The one door to other processes: the only importer of ``subprocess``.

Every process runs from an argument list (never a shell), with an environment that the caller gives whole.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess  # noqa: TID251 - this is the door
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from memrepo_worker.observe import Observer
from memrepo_worker.threads.giving_way import will_wait

Process = subprocess.Popen[bytes]

_PIECE_BYTES = 64 * 1024
_LOOK_EVERY_S = 0.5


class ProcessFailedError(Exception):
    """A process ended with another code than 0, or was not over in time. The message ends with its stderr."""


class ProcessTroubleError(ProcessFailedError):
    """It says nothing of what the process was asked: it could not be started, or something else killed it."""


class ProcessTooSlowError(ProcessTroubleError):
    """It was not over in time, and was killed."""


class ProcessStoppedError(ProcessTroubleError):
    """Nobody wants it any more, and it was killed."""


class ProcessOverBoundsError(ProcessFailedError):
    """A process would have used more than its bounds allow."""


class ProcessOverCpuError(ProcessOverBoundsError):
    """The bound was that of processor time."""


@dataclass(frozen=True, slots=True)
class ProcessBounds:
    """What a process may use before it is killed; None is no bound.

    ``cpu_s`` and ``memory_bytes_max`` (its own data, no mapped files) are held by the kernel where it can bound another
    process (Linux); elsewhere only ``timeout_s`` ends it. What is over its memory gets no more, and fails as it may.
    ``output_bytes_max`` is held everywhere where we read the output, and by the kernel where it goes to a file.
    """

    cpu_s: int | None = None
    memory_bytes_max: int | None = None
    output_bytes_max: int | None = None


UNBOUNDED = ProcessBounds()

HOLDS_BOUNDS = hasattr(resource, "prlimit")
"""Whether the kernel here holds another process to its bounds."""


@dataclass(frozen=True, slots=True)
class Fed:
    """What a process reads, made while it reads: so many bytes, of which one piece is in memory."""

    pieces: Iterable[bytes | memoryview]
    size: int

    def __len__(self) -> int:
        return self.size


Stdin = bytes | memoryview | Fed | IO[bytes]


@dataclass(frozen=True)
class Processes:
    """Runs processes, and counts each as ``process.started``.

    ``niceness`` is how far they stand back behind others of this machine. ``is_stopped`` is asked now and then while
    one runs that is waited for: once it says so, the process is killed.
    """

    observer: Observer
    niceness: int = 0
    is_stopped: Callable[[], bool] = lambda: False

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        timeout_s: float,
        stdin: Stdin = b"",
        stdout: IO[bytes] | None = None,
        cwd: Path | None = None,
        bounds: ProcessBounds = UNBOUNDED,
        told_cpu_s: Callable[[float], object] = lambda _: None,
    ) -> bytes:
        """Run a process to its end and return its standard output; with files as its ends nothing passes through us.

        ``told_cpu_s`` is called with the processor time that it took, where the kernel says that (Linux), else with 0.
        A file is read, or written, from where it is now. What making a piece of ``stdin`` raises comes out as it is.

        Raises:
            ProcessTroubleError: it is not installed, cannot be started, took longer than ``timeout_s``, or was
                killed by another than us; ``ProcessStoppedError``: nobody wants it any more.
            ProcessFailedError: it failed, or was over its bounds (then it was killed).
        """
        self.observer.count("process.started")
        will_wait()
        try:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.PIPE if isinstance(stdin, bytes | memoryview | Fed) else stdin,
                stdout=stdout or subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
            )
        except OSError as error:
            raise ProcessTroubleError(f"{arguments[0]} cannot be started: {error.strerror}") from error
        name = arguments[0]
        with process:
            conversation = _Conversation(process, _pieces_of(stdin), bounds.output_bytes_max)
            try:
                _limit(process.pid, bounds, to_file=stdout is not None)
                self._stand_back(process.pid)
                conversation.hold(timeout_s, self.is_stopped)
            except InterruptedError:
                raise ProcessStoppedError(f"{name} was stopped") from None
            except TimeoutError:
                raise ProcessTooSlowError(f"{name} took longer than {timeout_s} s and was killed") from None
            except OverflowError:
                raise ProcessOverBoundsError(
                    f"{name} wrote more than {bounds.output_bytes_max} bytes and was killed"
                ) from None
            finally:
                told_cpu_s(conversation.cpu_s or _cpu_s_of(process.pid))
                process.kill()
        if process.returncode != 0:
            raise _failure(arguments, process.returncode, bytes(conversation.said), bounds)
        return bytes(conversation.output)

    def _stand_back(self, pid: int) -> None:
        if self.niceness:
            with suppress(ProcessLookupError):  # it is over already
                os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + self.niceness)

    def start(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
        cwd: Path | None = None,
        lifeline: bool = False,
        inherited: Sequence[int] = (),
    ) -> Process:
        """Start a process that goes on, in a session of its own, so that Ctrl+C in a terminal reaches us alone.

        The caller ends it (``terminate``, then ``wait``). With ``lifeline`` its standard input is a pipe that comes to
        its end when this process does; without, it is empty. It has the ``inherited`` open files, by the same numbers.
        """
        self.observer.count("process.started")
        return subprocess.Popen(
            list(arguments),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=tuple(inherited),
        )


def _pieces_of(stdin: Stdin) -> Iterator[bytes | memoryview]:
    """Yield what passes through us of it: a file does not."""
    if isinstance(stdin, Fed):
        yield from stdin.pieces
    elif isinstance(stdin, bytes | memoryview):
        yield stdin


class _Conversation:
    """Feeds a process and reads it at the same time; ``output`` and ``said`` are what it wrote to its two ends."""

    def __init__(
        self, process: Process, stdin: Iterator[bytes | memoryview], output_bytes_max: int | None
    ) -> None:
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._more = stdin
        self._left = memoryview(b"")
        self._output_bytes_max = output_bytes_max
        self.output = bytearray()
        self.said = bytearray()
        self.cpu_s = 0.0

    def hold(self, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
        """Go on until the process is over.

        Raises:
            TimeoutError, OverflowError: it took too long, or wrote too much.
            InterruptedError: it was stopped.
        """
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as ends:
            for source, into in ((self._stdout, self.output), (self._stderr, self.said)):
                if source is not None:
                    ends.register(source, selectors.EVENT_READ, partial(self._read, source, into))
            if self._stdin is not None:
                os.set_blocking(self._stdin.fileno(), False)
                ends.register(self._stdin, selectors.EVENT_WRITE, partial(self._write, self._stdin))
            while ends.get_map():
                if time.monotonic() >= deadline:
                    raise TimeoutError
                if is_stopped():
                    raise InterruptedError
                for end, _ in ends.select(min(deadline - time.monotonic(), _LOOK_EVERY_S)):
                    if not end.data():
                        ends.unregister(
                            end.fileobj
                        )  # before it is closed: its number may be another's at once
                        cast("IO[bytes]", end.fileobj).close()
        self.cpu_s = _cpu_s_of(
            self._process.pid
        )  # all of it is done, and who has ended is there until waited for
        try:
            self._process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def _read(self, end: IO[bytes], into: bytearray) -> bool:
        """Read what is there; return whether more may come."""
        data = os.read(end.fileno(), _PIECE_BYTES)
        into += data
        if self._output_bytes_max is not None and len(into) > self._output_bytes_max:
            raise OverflowError
        return data != b""

    def _write(self, end: IO[bytes]) -> bool:
        """Write as much as is taken; return whether more is to come."""
        try:
            while not self._left and (piece := next(self._more, None)) is not None:
                self._left = memoryview(piece)
            if self._left:
                self._left = self._left[os.write(end.fileno(), self._left[:_PIECE_BYTES]) :]
                return True
        except BrokenPipeError:  # it ended without reading all: its exit code says whether that is a fault
            self._left = self._left[:0]
        return False


def _limit(pid: int, bounds: ProcessBounds, *, to_file: bool) -> None:
    if not HOLDS_BOUNDS:
        return
    with suppress(ProcessLookupError):  # it is over already
        if bounds.cpu_s is not None:
            _bound(pid, resource.RLIMIT_CPU, bounds.cpu_s, bounds.cpu_s + 1)
            _bound(pid, resource.RLIMIT_CORE, 0, 0)
        if to_file and bounds.output_bytes_max is not None:
            _bound(pid, resource.RLIMIT_FSIZE, bounds.output_bytes_max, bounds.output_bytes_max)
            _bound(pid, resource.RLIMIT_CORE, 0, 0)
        if bounds.memory_bytes_max is not None:
            _bound(pid, resource.RLIMIT_DATA, bounds.memory_bytes_max, bounds.memory_bytes_max)


def _bound(pid: int, which: int, soft: int, hard: int) -> None:
    """Bound what a process may use; where the machine allows less, which only root may raise, it is that."""
    _, most = resource.prlimit(pid, which)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.prlimit(pid, which, (soft, hard))


def _cpu_s_of(pid: int) -> float:
    """Return how much processor time a process of ours, and what it has waited for, took; 0 where nobody says.

    It may have ended, and must not have been waited for.
    """
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    ticks = said.rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _failure(arguments: Sequence[str], code: int, said: bytes, bounds: ProcessBounds) -> ProcessFailedError:
    if code == -signal.SIGXCPU:
        return ProcessOverCpuError(
            f"{arguments[0]} used more than {bounds.cpu_s} s of processor time and was killed"
        )
    if code == -signal.SIGXFSZ and bounds.output_bytes_max is not None:
        return ProcessOverBoundsError(
            f"{arguments[0]} wrote more than {bounds.output_bytes_max} bytes and was killed"
        )
    if code < 0:
        return ProcessTroubleError(f"{arguments[0]} was killed by {_signal_name(-code)}")
    last = said.decode(errors="replace").strip()[-2000:]
    return ProcessFailedError(f"{' '.join(arguments[:2])} exited with {code}: {last}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
