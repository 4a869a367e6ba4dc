"""Commands that compare, restore and branch: ``diff``, ``restore``, ``branches``."""

from __future__ import annotations

import click

from memrepo.cli.common import (
    author_of,
    client,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    request_id_option,
    sending,
    timeout_option,
)
from memrepo.cli.output import show_diff, show_json, show_result
from memrepo.models import DEFAULT_AUTHOR, Author


@click.command()
@of_agent
@click.argument("base")
@click.argument("target", default="main")
@click.argument("paths", nargs=-1)
@timeout_option
@json_option
def diff(
    org: str, agent: str, base: str, target: str, paths: tuple[str, ...], timeout_s: float, as_json: bool
) -> None:
    """Show what changed from BASE to TARGET, in all files or those of PATHS.

    Both are branches, tags or shas (7 digits will do); main~1 is the commit before main.
    """
    with client() as repos:
        difference = outcome_of(repo_of(repos, org, agent).diff(base, target, paths=paths or None), timeout_s)
    show_json(difference) if as_json else show_diff(difference)


@click.command()
@of_agent
@click.argument("ref")
@click.argument("paths", nargs=-1)
@click.option(
    "--branch", metavar="NAME", default="main", show_default=True, help="Where the new commit goes."
)
@click.option(
    "--author",
    type=author_of,
    metavar="'NAME <EMAIL>'",
    default=DEFAULT_AUTHOR,
    show_default="memrepo",
    help="Who restores it.",
)
@request_id_option
@timeout_option
@json_option
def restore(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    ref: str,
    paths: tuple[str, ...],
    branch: str,
    author: Author,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Bring back what was at REF as a new commit: all files, or those of PATHS.

    REF is a branch, a tag or a sha (7 digits will do); main~1 is the commit before main.
    """
    with client() as repos:
        repo = repo_of(repos, org, agent)
        with sending(repo, request_id) as sent_as:
            job = repo.restore(ref, paths=paths or None, branch=branch, author=author, request_id=sent_as)
        result = outcome_of(job, timeout_s)
    show_json(result) if as_json else show_result(result)


@click.command()
@of_agent
@click.option("--create", metavar="NAME", help="Begin a branch.")
@click.option(
    "--start-point", metavar="REF", default="main", show_default=True, help="Where --create begins it."
)
@click.option("--delete", metavar="NAME", help="Remove a branch; its commits stay in the journal.")
@request_id_option
@timeout_option
@json_option
def branches(
    org: str,
    agent: str,
    create: str | None,
    start_point: str,
    delete: str | None,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List the branches and their commits, after creating or deleting one."""
    if create is not None and delete is not None:
        raise click.UsageError("--create and --delete are two commands: give one of them. Nothing was done.")
    if request_id is not None and create is None and delete is None:
        raise click.UsageError("--request-id is of a request: give --create or --delete with it.")
    with client() as repos:
        repo = repo_of(repos, org, agent)
        if create is not None:
            with sending(repo, request_id) as sent_as:
                begun = repo.create_branch(create, start_point=start_point, request_id=sent_as)
            outcome_of(begun, timeout_s)
        if delete is not None:
            with sending(repo, request_id) as sent_as:
                removed = repo.delete_branch(delete, request_id=sent_as)
            outcome_of(removed, timeout_s)
        listed = outcome_of(repo.list_branches(), timeout_s)
    if as_json:
        show_json(listed)
        return
    for branch in listed:
        click.echo(f"{click.style(branch.sha, fg='yellow')} {branch.name}")
