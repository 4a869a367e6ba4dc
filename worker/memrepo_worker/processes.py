"""The one door to other processes: the only importer of ``subprocess``.

Every process runs from an argument list (never a shell), with an environment that the caller gives whole.
"""

from __future__ import annotations

import subprocess  # noqa: TID251 - this is the door
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memrepo_worker.observe import Observer

Process = subprocess.Popen[bytes]


class ProcessFailedError(Exception):
    """A process ended with another code than 0, or was not over in time. The message ends with its stderr."""


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
    ) -> bytes:
        """Run a process to its end and return its standard output.

        Raises:
            ProcessFailedError: it is not installed, failed, or took longer than ``timeout_s`` (then it was killed).
        """
        self.observer.count("process.started")
        try:
            done = subprocess.run(
                list(arguments),
                input=stdin,
                capture_output=True,
                env=dict(env),
                cwd=cwd,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProcessFailedError(
                f"{arguments[0]} took longer than {timeout_s} s and was killed"
            ) from None
        except OSError as error:
            raise ProcessFailedError(f"{arguments[0]} cannot be started: {error.strerror}") from error
        if done.returncode != 0:
            last = done.stderr.decode(errors="replace").strip()[-2000:]
            raise ProcessFailedError(f"{' '.join(arguments[:2])} exited with {done.returncode}: {last}")
        return done.stdout

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
