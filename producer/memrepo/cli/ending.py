"""How a command ends that could not do its work: one line or one JSON document on standard error, and an exit code."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click
from click.exceptions import Exit

from memrepo import errors
from memrepo.cli.interrupt import INTERRUPTED
from memrepo.cli.streams import abandon, output_is_closed
from memrepo.cli.table import EXTRAS
from memrepo.cli.up_state import DATA_DIR_DEFAULT, is_not_ready
from memrepo.installed import install_command
from memrepo.settings import environment

CONFLICT = 4
"""The exit code where something stands against it that is as it is: it exists, it has moved, it has begun."""


class MachineError(errors.MemoryRepoError):
    """This machine did not let a command do its work: git, a disk, its memory. No error of the API."""


EXIT_CODES: Mapping[type[errors.MemoryRepoError], int] = {
    errors.InvalidRequestError: 2,
    errors.RepoNotFoundError: 3,
    errors.RefNotFoundError: 3,
    errors.PathNotFoundError: 3,
    errors.ResultExpiredError: 3,
    errors.RepoExistsError: CONFLICT,
    errors.HeadMovedError: CONFLICT,
    errors.MergeConflictError: CONFLICT,
    errors.MemoryRepoBusyError: 5,
    errors.BrokerUnavailableError: 5,
    errors.StoreUnavailableError: 5,
    errors.JobTimeoutError: 5,
    MachineError: 5,
    errors.MemoryRepoError: 1,
}
"""The exit code of each error; one that is not listed has its base's."""

NOT_READY = (
    f"`memrepo up` is starting or ending in ./{DATA_DIR_DEFAULT}: try again once it has printed its addresses, or name "
    "another broker with MEMREPO_BROKER_URL"
)

JSON_ASKED = "memrepo.json"
"""Set in a context's ``meta`` when errors are wanted as JSON, too."""

PIPE_CLOSED = 141
"""The exit code where nobody reads the output any more, as shells give it: 128 + the signal's number."""

_OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Return text without control characters: what an agent wrote must not steer a person's terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def exit_code_of(error: errors.MemoryRepoError) -> int:
    """Return the exit code that stands for an error."""
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


@dataclass
class CommandError(Exception):
    """The end of a command, as it is told; for what is no error of memrepo's API."""

    kind: str
    message: str
    exit_code: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)

    def tell(self, *, as_json: bool) -> None:
        """Write it to standard error; without a message nothing is to be told."""
        if not self.message:
            return
        told = {"type": self.kind, "message": self.message, "details": dict(self.details)}
        head = "" if self.exit_code == INTERRUPTED else click.style("Error: ", fg="red")
        text = json.dumps({"error": told}, ensure_ascii=False) if as_json else head + plain(self.message)
        try:
            click.echo(text, err=True)
        except OSError:  # nobody reads that, either
            abandon(sys.stderr)


@contextmanager
def telling(as_json: Callable[[], bool]) -> Iterator[None]:
    """Tell how what is done within ends, if not well, and leave with the exit code that stands for it."""
    try:
        yield
    except (errors.MemoryRepoError, click.ClickException, CommandError, OSError) as error:
        end = _end_by(error)
    except ModuleNotFoundError as error:
        end = _missing(error)
    except click.Abort as abort:
        click.echo(err=True)  # the question stands there still
        by_hand = isinstance(abort.__context__, KeyboardInterrupt)  # at the question, where click catches it
        end = CommandError("Aborted", "Aborted: nothing was done.", INTERRUPTED if by_hand else 1)
    except KeyboardInterrupt:
        end = CommandError("Interrupted", "Interrupted.", INTERRUPTED)
    else:
        return
    end.tell(as_json=as_json())
    raise Exit(end.exit_code)


@contextmanager
def printing_of(done: str, **details: str) -> Iterator[None]:
    """Print within what has been done; where the output cannot be written, the error says that it was done.

    Raises:
        CommandError: it cannot; whoever closed a pipe is told nothing, as elsewhere.
    """
    try:
        yield
    except OSError as error:
        end = _end_by(error)
        if not end.message:
            raise
        raise CommandError(end.kind, f"{done}; but {end.message}", end.exit_code, details) from error


def require_output() -> None:
    """Refuse to begin where standard output is closed: what is asked for could not be told.

    Raises:
        CommandError: it is.
    """
    if output_is_closed():
        raise CommandError(
            "OutputError",
            "the output cannot be written: standard output is closed. Send it to /dev/null if nobody is to read it.",
        )


def _end_by(error: errors.MemoryRepoError | click.ClickException | CommandError | OSError) -> CommandError:
    if isinstance(error, CommandError):
        return error
    if isinstance(error, errors.MemoryRepoError):  # some are OSErrors, too
        return CommandError(type(error).__name__, _message_of(error), exit_code_of(error), error.details)
    if isinstance(error, OSError):
        return _end_of_files(error)
    return _end_of_usage(error)


def _message_of(error: errors.MemoryRepoError) -> str:
    """Return what an error says; of a broker that this folder's ``memrepo up`` has not got ready, that.

    Without its address another one is asked, or its own without its password.
    """
    if isinstance(error, errors.BrokerUnavailableError) and is_not_ready(environment()):
        return f"{NOT_READY}. (Asked without its address: {error.message})"
    return error.message


def _end_of_usage(error: click.ClickException) -> CommandError:
    """Tell in one line what click tells in four."""
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 makes an error of asking for help
        click.echo(error.format_message())
        return CommandError("", "", 0)
    if not isinstance(error, click.UsageError):
        return CommandError("CommandError", error.format_message(), error.exit_code)
    message = error.format_message().rstrip()
    where = f" See {error.ctx.command_path} --help" if error.ctx else ""
    stop = "" if message.endswith((".", "?", "!")) else "."
    return CommandError("UsageError", f"{message}{stop}{_place_of_texts(error)}{where}", error.exit_code)


def _place_of_texts(error: click.UsageError) -> str:
    """Say where a text goes that was taken for an option, as an item of a list in Markdown is."""
    takes_texts = error.ctx is not None and any(
        isinstance(one, click.Argument) for one in error.ctx.command.params
    )
    if not isinstance(error, click.NoSuchOption) or error.possibilities or not takes_texts:
        return ""
    return " A text that begins with - goes behind --, and options before that."


def _end_of_files(error: OSError) -> CommandError:
    """Tell which file, or that the output did not arrive; who closed a pipe has read enough and is told nothing."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return CommandError("FileError", f"{error.filename} cannot be used: {reason}")
    if error.errno not in _OF_OUTPUT:
        return CommandError("OSError", reason)
    abandon(sys.stdout)
    if error.errno == errno.EPIPE:
        return CommandError("OutputError", "", PIPE_CLOSED)
    return CommandError("OutputError", f"the output cannot be written: {reason}")


def _missing(error: ModuleNotFoundError) -> CommandError:
    """Say which extra brings a library; a missing module of our own is a fault of ours, and stays what it is."""
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    return CommandError("NotInstalled", f"This needs more than the producer. Run: {install_command(extra)}")
