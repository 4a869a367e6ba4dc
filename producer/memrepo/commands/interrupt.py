"""Ctrl+C: one line and the exit code 130, whatever the command is just doing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code of a command that Ctrl+C ended, as shells give it: 128 + the signal's number."""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let Ctrl+C end the process at once while modules are loaded, where an exception may be raised anywhere.

    Where Ctrl+C is ignored, or somebody handles it already, nothing is changed.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"\nInterrupted.\n" if os.isatty(2) else b"Interrupted.\n")
    leave_at_once()


def leave_at_once() -> NoReturn:
    """End the process, and wait for nothing that would still be done at its end."""
    os._exit(INTERRUPTED)
