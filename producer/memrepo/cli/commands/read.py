"""Commands that read a memory: ``cat``, ``ls``, ``log``, ``show``, ``head``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click
from click.core import ParameterSource

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
from memrepo.errors import PathNotFoundError, RepoNotFoundError
from memrepo.models import MemoryInfo
from memrepo.wire.requests.paths import LIST_LIMIT_MAX
from memrepo.wire.requests.reads import HISTORY_LIMIT_MAX

Function = TypeVar("Function", bound=Callable[..., None])

_AGENTS_AT_ONCE = 100
"""How many a request asks for: a worker looks at each, and others wait for it meanwhile."""


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
@click.argument("org")
@click.argument("agent", required=False)
@click.argument("prefix", default="")
@click.option("--prefix", "agents_prefix", metavar="TEXT", help="Without AGENT: only those that begin so.")
@ref_option
@limit_option(LIST_LIMIT_MAX, "--limit", default=1000)
@click.option("--after", metavar="NAME", help="Begin after this path, or agent.")
@timeout_option
@json_option
def ls(  # noqa: PLR0913, PLR0917 - one argument per choice
    org: str,
    agent: str | None,
    prefix: str,
    agents_prefix: str | None,
    ref: str,
    limit: int,
    after: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List files whose path begins with PREFIX: x for executable, bytes, path. Without AGENT list the ORG's agents.

    If there is none, the exit code is 3; without PREFIX or --prefix, and behind --after, an empty list is a list.
    """
    if agent is None:
        if click.get_current_context().get_parameter_source("ref") is not ParameterSource.DEFAULT:
            raise click.UsageError("--ref needs an AGENT")
        _show_memories(org, agents_prefix or "", limit, after, timeout_s, as_json=as_json)
        return
    if agents_prefix is not None:
        raise click.UsageError("--prefix is for agents: of files say PREFIX behind AGENT")
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


def _show_memories(
    org: str, prefix: str, limit: int, after: str | None, timeout_s: float, *, as_json: bool
) -> None:
    """Print the agents of an org that have a memory, a page after the other."""
    memories: list[MemoryInfo] = []
    following = after
    with client() as repos:
        while len(memories) < limit:
            at_once = min(limit - len(memories), _AGENTS_AT_ONCE)
            page = outcome_of(
                repos.list_memories(org, prefix=prefix, limit=at_once, after=following), timeout_s
            )
            memories += page
            following = page.next_after
            if following is None:
                break
    if prefix and not memories and after is None:
        raise RepoNotFoundError(
            f"{org} has no memory whose agent begins with {prefix!r}", {"org_id": org, "prefix": prefix}
        )
    if as_json:
        show_json(memories)
        return
    for memory in memories:
        click.echo(memory.agent_id)


def _nothing(message: str, path: str, ref: str) -> PathNotFoundError:
    """Return the error for a path that never was: a script that mistyped it must not take that for an answer."""
    return PathNotFoundError(message, {"path": path, "ref": ref})
