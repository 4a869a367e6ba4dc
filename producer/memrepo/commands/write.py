"""Commands that change a memory: ``create``, ``commit``, ``delete``."""

from __future__ import annotations

from typing import IO

import click

from memrepo.commands.common import (
    author_of,
    client,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    timeout_option,
)
from memrepo.commands.show import show_json, show_result
from memrepo.job import Job
from memrepo.models import DEFAULT_AUTHOR, Author, CommitResult

put_option = click.option(
    "--put",
    "files",
    nargs=2,
    type=(str, click.File("rb")),
    multiple=True,
    metavar="PATH FILE",
    help="Write the content of FILE (- is standard input) at PATH. May be given again.",
)
author_option = click.option(
    "--author",
    type=author_of,
    metavar="'NAME <EMAIL>'",
    default=DEFAULT_AUTHOR,
    show_default="memrepo",
    help="Who writes it.",
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Print the job's id and leave; see memrepo job."
)

Files = tuple[tuple[str, IO[bytes]], ...]


@click.command()
@of_agent
@put_option
@author_option
@no_wait_option
@timeout_option
@json_option
def create(
    org: str, agent: str, files: Files, author: Author, no_wait: bool, timeout_s: float, as_json: bool
) -> None:
    """Begin an agent's memory with a first commit."""
    with client() as repos:
        contents: dict[str, str | bytes | None] = {path: file.read() for path, file in files}
        _settle(repo_of(repos, org, agent).create_repo(contents, author=author), no_wait, timeout_s, as_json)


@click.command()
@of_agent
@click.option("-m", "--message", required=True, help="The commit message.")
@put_option
@click.option("--text", "texts", nargs=2, multiple=True, metavar="PATH TEXT", help="Write TEXT at PATH.")
@click.option("--delete", "deleted", multiple=True, metavar="PATH", help="Delete PATH.")
@author_option
@click.option("--branch", default="main", show_default=True)
@click.option("--start-point", default="main", show_default=True, help="Where a new branch begins.")
@click.option("--expected-head", metavar="SHA", help="Refuse if the branch is elsewhere.")
@click.option("--create", "create_repo_if_missing", is_flag=True, help="Begin the memory if there is none.")
@click.option("--request-id", help="Sending the same request again under the same id applies it once.")
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
    create_repo_if_missing: bool,
    request_id: str | None,
    no_wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Change files of an agent's memory as one commit."""
    changes: dict[str, str | bytes | None] = {path: file.read() for path, file in files}
    changes |= dict(texts) | dict.fromkeys(deleted)
    with client() as repos:
        job = repo_of(repos, org, agent).commit(
            changes,
            message,
            author=author,
            branch=branch,
            start_point=start_point,
            expected_head=expected_head,
            create_repo_if_missing=create_repo_if_missing,
            request_id=request_id,
        )
        _settle(job, no_wait, timeout_s, as_json)


@click.command()
@of_agent
@click.option("--yes", is_flag=True, help="Do not ask.")
@timeout_option
@json_option
def delete(org: str, agent: str, yes: bool, timeout_s: float, as_json: bool) -> None:
    """Delete an agent's memory with all its history, for good."""
    if not yes:
        click.confirm(f"Delete the memory of {org}/{agent} for good?", abort=True)
    with client() as repos:
        outcome_of(repo_of(repos, org, agent).delete_repo(), timeout_s)
    if as_json:
        show_json(None)
    else:
        click.echo(f"deleted {org}/{agent}")


def _settle(job: Job[CommitResult], no_wait: bool, timeout_s: float, as_json: bool) -> None:
    """Print the job's id, or wait for its result and print that."""
    if no_wait:
        show_json({"job_id": job.id}) if as_json else click.echo(job.id)
        return
    result = outcome_of(job, timeout_s)
    show_json(result) if as_json else show_result(result)
