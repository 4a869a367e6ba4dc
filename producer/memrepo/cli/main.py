"""The ``memrepo`` command: the producer's commands, and those that installed packages add.

A package adds commands by an entry point of the group ``memrepo.commands`` that names a function which returns their
rows, by name (``memrepo.cli.table``). Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict,
5 unavailable, 130 interrupted.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import click
from click.shell_completion import CompletionItem

from memrepo.cli.ending import JSON_ASKED, require_output, telling
from memrepo.cli.table import PRODUCER, Row
from memrepo.lazy import lazy_property

ENTRY_POINTS = "memrepo.commands"


class Commands(click.Group):
    """Commands that are loaded when they are asked for, and whose errors end in one line and an exit code."""

    def __init__(self, *args: Any, rows: Mapping[str, Row] | None = None, **kwargs: Any) -> None:
        """Take click's arguments, and the rows; None stands for the producer's and those that packages add."""
        super().__init__(*args, **kwargs)
        self._rows = rows

    @lazy_property
    def _added(self) -> Mapping[str, Row]:
        return added_rows() if self._rows is None else {}

    def _find(self, name: str) -> Row | None:
        return (PRODUCER if self._rows is None else self._rows).get(name) or self._added.get(name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        own = PRODUCER if self._rows is None else self._rows
        return sorted({*super().list_commands(ctx), *own, *self._added})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        row = self._find(cmd_name)
        try:
            return super().get_command(ctx, cmd_name) or (row.load() if row else None)
        except ModuleNotFoundError:
            if ctx.resilient_parsing:  # a shell that completes is told nothing
                return None
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name, without loading any; an option's as click does."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self._help_of(ctx, name)) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help's list of commands, without loading any."""
        added = [name for name in self.list_commands(ctx) if name in self._added]
        own = [name for name in self.list_commands(ctx) if name not in self._added]
        for title, names in (("Commands", own), ("Serving and looking after memories", added)):
            if names:
                with formatter.section(title):
                    formatter.write_dl([(name, self._help_of(ctx, name)) for name in names])

    def _help_of(self, ctx: click.Context, name: str) -> str:
        row = self._find(name)
        command = None if row else super().get_command(ctx, name)
        return row.help_line if row else command.get_short_help_str() if command else ""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - click's own returns what a command does
        """Run as a program: what the terminal's encoding does not have is written as an escape, not as a traceback."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the command line's first part."""
        as_json = "--json" in args  # what is wrong may come before it
        with telling(lambda: as_json):
            require_output()
            ctx = super().make_context(info_name, args, parent, **extra)
        ctx.meta[JSON_ASKED] = as_json
        return ctx

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        with telling(lambda: bool(ctx.meta.get(JSON_ASKED))):
            return super().invoke(ctx)


def added_rows() -> Mapping[str, Row]:
    """Return the commands that other packages add."""
    found: dict[str, Row] = {}
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        found |= entry_point.load()()
    return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="memrepo")
def main() -> None:
    """Agent memory as git repositories, kept in object storage and served through Celery."""
