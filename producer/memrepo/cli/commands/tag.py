"""The command of tags: ``tags``."""

from __future__ import annotations

import click

from memrepo.cli.common import (
    client,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    request_id_option,
    sending,
    timeout_option,
)
from memrepo.cli.ending import CONFLICT, CommandError, plain, printing_of
from memrepo.cli.output import show_json
from memrepo.cli.words import in_command_words
from memrepo.errors import InvalidRequestError
from memrepo.jobs.job import Job
from memrepo.models import Tag
from memrepo.repo import MemoryRepo


@click.command()
@of_agent
@click.option("--create", metavar="NAME", help="Give a commit a name that stays there.")
@click.option("--ref", metavar="REF", show_default="main", help="Which commit --create names.")
@click.option("--overwrite", is_flag=True, help="Let --create move a tag that is elsewhere.")
@click.option("--delete", metavar="NAME", help="Remove a tag; the commit stays in the journal.")
@request_id_option
@timeout_option
@json_option
def tags(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    create: str | None,
    ref: str | None,
    overwrite: bool,
    delete: str | None,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List the tags and their commits, after creating or deleting one."""
    if create is not None and delete is not None:
        raise click.UsageError("--create and --delete are two commands: give one of them. Nothing was done.")
    if create is None and (ref is not None or overwrite):
        raise click.UsageError("--ref and --overwrite say how --create names a commit. Nothing was done.")
    if request_id is not None and create is None and delete is None:
        raise click.UsageError("--request-id is of a request: give --create or --delete with it.")
    with client() as repos:
        repo = repo_of(repos, org, agent)
        if create is not None:
            with sending(repo, request_id) as sent_as:
                made = repo.create_tag(create, ref=ref or "main", overwrite=overwrite, request_id=sent_as)
            _wait(repo, made, create, timeout_s)
        if delete is not None:
            with sending(repo, request_id) as sent_as:
                removed = repo.delete_tag(delete, request_id=sent_as)
            outcome_of(removed, timeout_s)
        listed = outcome_of(repo.list_tags(), timeout_s)
    if create is None and delete is None:
        _show(listed, as_json)
        return
    name = create or delete or ""
    with printing_of(f"Tag {name} was {'removed' if create is None else 'set'}", tag=name):
        _show(listed, as_json)


def _wait(repo: MemoryRepo, made: Job[Tag], name: str, timeout_s: float) -> None:
    """Wait until a tag is set; that there is one already, elsewhere, is a conflict and no wrong usage."""
    try:
        outcome_of(made, timeout_s)
    except InvalidRequestError as error:
        if all(tag.name != name for tag in outcome_of(repo.list_tags(), timeout_s)):
            raise
        told = in_command_words(error, click.get_current_context())
        raise CommandError(type(told).__name__, told.message, CONFLICT, told.details) from error


def _show(listed: list[Tag], as_json: bool) -> None:
    if as_json:
        show_json(listed)
        return
    for tag in listed:
        click.echo(f"{click.style(tag.sha, fg='yellow')} {plain(tag.name)}")
