"""Ctrl+C: one line and the exit code 130, whatever the command is just doing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""The exit code of a command that Ctrl+C ended, as shells give it: 128 + the signal's number."""


class _Process:
    """Whether the process is the command's own, and not, say, a test's that calls it."""

    is_ours = False


def claim_process() -> None:
    """Say that this process runs the command alone, so that Ctrl+C may end it without further ado."""
    _Process.is_ours = True


def is_own_process() -> bool:
    """Return whether this process runs the command alone."""
    return _Process.is_ours


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl+C end the process at once while modules are loaded, where an exception may be raised anywhere.

    Where Ctrl+C is ignored, or the process is not the command's own, nothing is changed.
    """
    ours = _Process.is_ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def leave_at_once() -> None:
    """End the process, and wait for nothing that would still be done at its end; return if it is another's."""
    if _Process.is_ours:
        os._exit(INTERRUPTED)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    os._exit(INTERRUPTED)
