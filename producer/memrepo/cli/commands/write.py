"""Commands that change a memory: ``create``, ``commit``, ``delete``."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

import click

from memrepo.cli.common import (
    client,
    confirm,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    request_id_option,
    sending,
    settings_here,
    timeout_option,
)
from memrepo.cli.ending import printing_of
from memrepo.cli.output import show_json
from memrepo.cli.words import naming_changes
from memrepo.cli.writing import author_option, no_wait_option, on_conflict_option, settle
from memrepo.errors import TooLargeError
from memrepo.models import Author, FileChange, OnConflict

put_option = click.option(
    "--put",
    "files",
    nargs=2,
    type=(str, click.File("rb")),
    multiple=True,
    metavar="PATH FILE",
    help="Write the content of FILE (- is standard input) at PATH, executable if FILE is. May be given again.",
)
Files = tuple[tuple[str, IO[bytes]], ...]


def changes_of(
    files: Files, texts: Sequence[tuple[str, str]] = (), deleted: Sequence[str] = ()
) -> tuple[list[FileChange], list[str]]:
    """Return what ``--put``, ``--text`` and ``--delete`` ask for, and for ``naming_changes`` how each was asked for.

    Raises:
        UsageError: see ``_read_files``; or a path has bytes that are not UTF-8.
    """
    changes = [
        *_read_files(files),
        *(FileChange(path=_unicode_of(path), content=os.fsencode(text)) for path, text in texts),
        *(FileChange(path=_unicode_of(path)) for path in deleted),
    ]
    options = [
        *(f"--put {path!r}" for path, _ in files),
        *(f"--text {path!r}" for path, _ in texts),
        *(f"--delete {path!r}" for path in deleted),
    ]
    return changes, options


def _read_files(files: Files) -> list[FileChange]:
    """Read what ``--put`` names; no more of each than a file may hold.

    Raises:
        UsageError: standard input is named twice, or a file cannot be read to its end.
    """
    sources = [_source(file) for _, file in files]
    if len(set(sources)) < len(sources):
        raise click.UsageError("--put: standard input can be read once only.")
    return [
        FileChange(path=_unicode_of(path), content=_content(path, file), executable=_executable(file))
        for path, file in files
    ]


def _executable(file: IO[bytes]) -> bool | None:
    """Return True for a file that its owner may execute; of others, and of streams, the mode in the memory is kept."""
    with suppress(OSError, AttributeError):
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode) and mode & stat.S_IXUSR:
            return True
    return None


def _source(file: IO[bytes]) -> object:
    """Return what is equal for two names of one stream, which only the first of them could read."""
    with suppress(OSError, AttributeError):  # a test's standard input has no number
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return status.st_dev, status.st_ino
    return id(file)


def _content(path: str, file: IO[bytes]) -> bytes:
    bytes_max = settings_here().limits.file_bytes_max
    try:
        content = file.read(bytes_max + 1)
    except OSError as error:
        raise click.UsageError(
            f"--put: what is meant for {path} cannot be read: {error.strerror}."
        ) from error
    if len(content) > bytes_max:
        raise TooLargeError.of("--put", f"{path!r} would be over file_bytes_max ({bytes_max} bytes)")
    return content


def _unicode_of(path: str) -> str:
    """Return a path that a request can carry.

    Raises:
        UsageError: it has bytes that are not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{path!r} is not valid Unicode.") from None
    return path


@click.command()
@of_agent
@put_option
@author_option
@request_id_option
@no_wait_option
@timeout_option
@json_option
def create(
    org: str,
    agent: str,
    files: Files,
    author: Author,
    request_id: str | None,
    no_wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Begin an agent's memory with a first commit."""
    contents, options = changes_of(files)
    with client() as repos, naming_changes(options):
        repo = repo_of(repos, org, agent)
        with sending(repo, request_id) as sent_as:
            job = repo.create_repo(contents, author=author, request_id=sent_as)
        settle(job, no_wait, timeout_s, as_json)


@click.command()
@of_agent
@click.option("-m", "--message", required=True, help="The commit message.")
@put_option
@click.option("--text", "texts", nargs=2, multiple=True, metavar="PATH TEXT", help="Write TEXT at PATH.")
@click.option("--delete", "deleted", multiple=True, metavar="PATH", help="Delete PATH.")
@author_option
@click.option(
    "--branch", metavar="NAME", default="main", show_default=True, help="Where it goes; a new one is begun."
)
@click.option(
    "--start-point", metavar="REF", default="main", show_default=True, help="Where a new branch begins."
)
@click.option("--expected-head", metavar="SHA", help="Refuse if the branch is elsewhere; a whole sha.")
@on_conflict_option
@click.option("--create", "create_repo_if_missing", is_flag=True, help="Begin the memory if there is none.")
@request_id_option
@no_wait_option
@timeout_option
@json_option
def commit(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    message: str,
    files: Files,
    texts: tuple[tuple[str, str], ...],
    deleted: tuple[str, ...],
    author: Author,
    branch: str,
    start_point: str,
    expected_head: str | None,
    on_conflict: OnConflict,
    create_repo_if_missing: bool,
    request_id: str | None,
    no_wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Change files of an agent's memory as one commit."""
    changes, options = changes_of(files, texts, deleted)
    with client() as repos, naming_changes(options):
        repo = repo_of(repos, org, agent)
        with sending(repo, request_id) as sent_as:
            job = repo.commit(
                changes,
                message,
                author=author,
                branch=branch,
                start_point=start_point,
                expected_head=expected_head,
                create_repo_if_missing=create_repo_if_missing,
                on_conflict=on_conflict,
                request_id=sent_as,
            )
        settle(job, no_wait, timeout_s, as_json)


@click.command()
@of_agent
@click.option("--yes", is_flag=True, help="Do not ask.")
@request_id_option
@timeout_option
@json_option
def delete(org: str, agent: str, yes: bool, request_id: str | None, timeout_s: float, as_json: bool) -> None:
    """Delete an agent's memory with all its history, for good."""
    if not yes and as_json:
        raise click.UsageError("With --json nobody is asked: say --yes.")
    if not yes:
        confirm(f"Delete the memory of {org}/{agent} for good?")
    with client() as repos:
        repo = repo_of(repos, org, agent)
        with sending(repo, request_id) as sent_as:
            job = repo.delete_repo(request_id=sent_as)
        outcome_of(job, timeout_s)
    with printing_of(f"The memory of {org}/{agent} was deleted", org_id=org, agent_id=agent):
        if as_json:
            show_json({"org_id": org, "agent_id": agent, "deleted": True})
        else:
            click.echo(f"deleted {org}/{agent}")
