"""Commands that read a memory: ``cat``, ``ls``, ``log``, ``show``, ``head``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from memrepo.cli.common import (
    client,
    json_option,
    of_agent,
    outcome_of,
    ref_option,
    repo_of,
    timeout_option,
)
from memrepo.cli.numbers import WholeNumber
from memrepo.cli.output import show_commit, show_file_line, show_json
from memrepo.errors import PathNotFoundError
from memrepo.wire.requests.paths import LIST_LIMIT_MAX
from memrepo.wire.requests.reads import HISTORY_LIMIT_MAX

Function = TypeVar("Function", bound=Callable[..., None])


def limit_option(most: int, *names: str, default: int) -> Callable[[Function], Function]:
    """Make the option that says how many at most."""
    return click.option(
        *names,
        metavar="N",
        type=WholeNumber(1, most),
        default=default,
        show_default=True,
        help="How many at most.",
    )


@click.command()
@of_agent
@click.argument("path")
@ref_option
@timeout_option
@json_option
def cat(org: str, agent: str, path: str, ref: str, timeout_s: float, as_json: bool) -> None:
    """Print one file, byte for byte."""
    with client() as repos:
        file = outcome_of(repo_of(repos, org, agent).get_file(path, ref=ref), timeout_s)
    if as_json:
        show_json(file)
    else:
        click.echo(file.data, nl=False)


@click.command()
@of_agent
@click.argument("prefix", default="")
@ref_option
@limit_option(LIST_LIMIT_MAX, "--limit", default=1000)
@click.option("--after", metavar="PATH", help="Begin after this path.")
@timeout_option
@json_option
def ls(
    org: str,
    agent: str,
    prefix: str,
    ref: str,
    limit: int,
    after: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List files whose path begins with PREFIX: x for executable, bytes, path.

    If there is none, the exit code is 3; without PREFIX, and behind --after, an empty list is a list.
    """
    with client() as repos:
        job = repo_of(repos, org, agent).list_files(prefix, ref=ref, limit=limit, after=after)
        files = outcome_of(job, timeout_s)
    if prefix and not files and after is None:
        raise _nothing(f"there is no file whose path begins with {prefix!r} at {ref}", prefix, ref)
    if as_json:
        show_json(files)
        return
    for file in files:
        show_file_line(file)


@click.command()
@of_agent
@click.argument("path", required=False)
@ref_option
@limit_option(HISTORY_LIMIT_MAX, "-n", "--limit", default=50)
@click.option("--after", metavar="REF", help="Begin after this commit.")
@timeout_option
@json_option
def log(
    org: str,
    agent: str,
    path: str | None,
    ref: str,
    limit: int,
    after: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List commits, newest first; with PATH those that changed it. If none ever did, the exit code is 3."""
    with client() as repos:
        job = repo_of(repos, org, agent).get_history(path, ref=ref, limit=limit, after=after)
        commits = outcome_of(job, timeout_s)
    if path is not None and not commits and after is None:
        raise _nothing(f"no commit in the history of {ref} has changed {path!r}", path, ref)
    if as_json:
        show_json(commits)
        return
    for commit in commits:
        show_commit(commit)


@click.command()
@of_agent
@click.argument("ref", default="HEAD")
@timeout_option
@json_option
def show(org: str, agent: str, ref: str, timeout_s: float, as_json: bool) -> None:
    """Show one commit: its author, date, message and counts.

    REF is a branch, a tag or a sha (7 digits will do); main~1 is the commit before main.
    """
    with client() as repos:
        commit = outcome_of(repo_of(repos, org, agent).get_commit(ref), timeout_s)
    show_json(commit) if as_json else show_commit(commit)


@click.command()
@of_agent
@click.argument("branch", default="main")
@timeout_option
@json_option
def head(org: str, agent: str, branch: str, timeout_s: float, as_json: bool) -> None:
    """Print the sha of the commit that BRANCH is at."""
    with client() as repos:
        sha = outcome_of(repo_of(repos, org, agent).get_head_sha(branch), timeout_s)
    show_json(sha) if as_json else click.echo(sha)


def _nothing(message: str, path: str, ref: str) -> PathNotFoundError:
    """Return the error for a path that never was: a script that mistyped it must not take that for an answer."""
    return PathNotFoundError(message, {"path": path, "ref": ref})
