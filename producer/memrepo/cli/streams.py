"""Standard input, output and error: what is closed from the start, and what can be written no more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from memrepo.cli.interrupt import is_own_process

_INPUT, _OUTPUT, _ERROR = 0, 1, 2


def occupy_closed_numbers() -> None:
    """Put /dev/null where a standard stream is closed.

    The next file or connection would get its number otherwise, and whatever is written to standard error would go
    there. Closed output counts as closed still: Python has set that stream to None by now. Closed input fails when it
    is read, and is not read as empty: what `--put PATH -` would write then is not what anybody meant.
    """
    for number in (_INPUT, _OUTPUT, _ERROR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY)  # takes the lowest free number: this one
    if sys.stdin is None:
        sys.stdin = open(_INPUT, closefd=False)  # noqa: SIM115 - as long as the process


def abandon(stream: TextIO | None) -> None:
    """Let go of what a stream could not write.

    Python writes the rest of its buffer when it ends; what failed once would fail again there, be told as an ignored
    exception, and turn the exit code into 120. So the rest goes to /dev/null, if the process is the command's own.
    """
    if stream is None or not is_own_process():
        return
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def output_is_closed() -> bool:
    """Return whether standard output was closed when the program began."""
    return sys.stdout is None
