"""Commands that edit one file in place: ``append``, ``insert``, ``move``, ``replace``."""

from __future__ import annotations

import sys
from typing import TypedDict, Unpack

import click

from memrepo.cli.common import (
    Command,
    client,
    json_option,
    of_agent,
    repo_of,
    request_id_option,
    sending,
    settings_here,
    timeout_option,
)
from memrepo.cli.words import naming_edit
from memrepo.cli.writing import author_option, no_wait_option, on_conflict_option, settle
from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.models import Author, OnConflict
from memrepo.wire.requests import edits
from memrepo.wire.requests.edits import Edit


class CommitOptions(TypedDict):
    """What each of these commands is told about its commit."""

    org: str
    agent: str
    message: str | None
    author: Author
    branch: str
    start_point: str
    expected_head: str | None
    on_conflict: OnConflict
    request_id: str | None
    no_wait: bool
    timeout_s: float
    as_json: bool


def _commit_options(command: Command) -> Command:
    """Give a command the options of its commit."""
    for option in (
        json_option,
        timeout_option,
        no_wait_option,
        request_id_option,
        on_conflict_option,
        click.option(
            "--expected-head", metavar="SHA", help="Refuse if the branch is elsewhere; a whole sha."
        ),
        click.option(
            "--start-point",
            metavar="REF",
            default="main",
            show_default=True,
            help="Where a new branch begins.",
        ),
        click.option(
            "--branch",
            metavar="NAME",
            default="main",
            show_default=True,
            help="Where it goes; a new one is begun.",
        ),
        author_option,
        click.option("-m", "--message", help="The commit message; by default it says what was done."),
    ):
        command = option(command)
    return of_agent(command)


_expected_sha256 = click.option(
    "--expected-sha256", metavar="DIGEST", help="Refuse if the file is another; '' if there is one."
)


def _commit(
    edit: Edit, done: str, /, *, create_repo_if_missing: bool = False, **options: Unpack[CommitOptions]
) -> None:
    with client() as repos, naming_edit():
        repo = repo_of(repos, options["org"], options["agent"])
        with sending(repo, options["request_id"]) as sent_as:
            job = repo.commit(
                [edit],
                done if options["message"] is None else options["message"],
                author=options["author"],
                branch=options["branch"],
                start_point=options["start_point"],
                expected_head=options["expected_head"],
                create_repo_if_missing=create_repo_if_missing,
                on_conflict=options["on_conflict"],
                request_id=sent_as,
            )
        settle(job, options["no_wait"], options["timeout_s"], options["as_json"])


def _text_of(text: str) -> str:
    """Return a text as it was given, or where that is ``-``, what is on standard input.

    Raises:
        InvalidRequestError, TooLargeError: that is no text, or more than a file may hold.
        UsageError: it cannot be read.
    """
    if text != "-":
        return text
    bytes_max = settings_here().limits.file_bytes_max
    try:
        data = sys.stdin.buffer.read(bytes_max + 1)
    except OSError as error:
        raise click.UsageError(f"TEXT: standard input cannot be read: {error.strerror}.") from error
    if len(data) > bytes_max:
        raise TooLargeError.of("TEXT", f"standard input is over file_bytes_max ({bytes_max} bytes)")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError.of(
            "TEXT", "what is on standard input is not UTF-8: `memrepo commit --put` writes binary files"
        ) from error


@click.command()
@_commit_options
@click.argument("path")
@click.argument("text")
@click.option("--new-line", is_flag=True, help="Begin a new line, if the file does not end in a line break.")
@click.option("--create", "create_repo_if_missing", is_flag=True, help="Begin the memory if there is none.")
@_expected_sha256
def append(
    path: str,
    text: str,
    new_line: bool,
    create_repo_if_missing: bool,
    expected_sha256: str | None,
    **options: Unpack[CommitOptions],
) -> None:
    """Add TEXT at the end of a file, or begin the file with it; - is standard input."""
    edit = edits.append(path, _text_of(text), new_line=new_line, expected_sha256=expected_sha256)
    _commit(edit, f"Append to {path}", create_repo_if_missing=create_repo_if_missing, **options)


@click.command()
@_commit_options
@click.argument("path")
@click.argument("line", type=int)
@click.argument("text")
@_expected_sha256
def insert(
    path: str, line: int, text: str, expected_sha256: str | None, **options: Unpack[CommitOptions]
) -> None:
    """Put TEXT behind a line of a file, 0 for its beginning; - is standard input."""
    edit = edits.insert(path, line, _text_of(text), expected_sha256=expected_sha256)
    _commit(edit, f"Insert into {path}", **options)


@click.command()
@_commit_options
@click.argument("path")
@click.argument("to")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@_expected_sha256
def move(
    path: str, to: str, overwrite: bool, expected_sha256: str | None, **options: Unpack[CommitOptions]
) -> None:
    """Give a file, or a folder with all that is in it, another path."""
    edit = edits.move(path, to, overwrite=overwrite, expected_sha256=expected_sha256)
    _commit(edit, f"Move {path} to {to}", **options)


@click.command()
@_commit_options
@click.argument("path")
@click.argument("old")
@click.argument("new")
@click.option("--count", type=int, default=1, show_default=True, help="How often OLD must be there.")
@_expected_sha256
def replace(
    path: str, old: str, new: str, count: int, expected_sha256: str | None, **options: Unpack[CommitOptions]
) -> None:
    """Put one text in the place of another."""
    edit = edits.replace(path, old, new, count=count, expected_sha256=expected_sha256)
    _commit(edit, f"Edit {path}", **options)
