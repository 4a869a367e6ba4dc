"""Commands of copies: ``fork`` makes one, ``origins`` tells what a memory was copied from."""

from __future__ import annotations

import click

from memrepo.cli.common import (
    client,
    json_option,
    of_agent,
    outcome_of,
    ref_option,
    repo_of,
    request_id_option,
    sending,
    timeout_option,
)
from memrepo.cli.ending import plain
from memrepo.cli.output import show_json
from memrepo.cli.words import naming_field
from memrepo.cli.writing import author_option, no_wait_option, settle
from memrepo.models import Author


@click.command()
@of_agent
@click.argument("new_agent")
@ref_option
@click.option("--no-history", is_flag=True, help="Begin with the files alone, as one first commit.")
@author_option
@request_id_option
@no_wait_option
@timeout_option
@json_option
def fork(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    new_agent: str,
    ref: str,
    no_history: bool,
    author: Author,
    request_id: str | None,
    no_wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Begin the memory of NEW_AGENT, in the same organisation, with what AGENT's has; from then on they are two.

    What was committed to AGENT's before is in it. --request-id is one of NEW_AGENT's.
    """
    with client() as repos:
        repo = repo_of(repos, org, agent)
        with naming_field("agent_id", "NEW_AGENT"):
            new = repo_of(repos, org, new_agent)
            with sending(new, request_id) as sent_as:
                job = repo.fork(new_agent, ref=ref, history=not no_history, author=author, request_id=sent_as)
        settle(job, no_wait, timeout_s, as_json)


@click.command()
@of_agent
@timeout_option
@json_option
def origins(org: str, agent: str, timeout_s: float, as_json: bool) -> None:
    """List which memories this one was forked from, the nearest first: when, from whose, at which commit.

    Nothing is printed of a memory that began by itself.
    """
    with client() as repos:
        found = outcome_of(repo_of(repos, org, agent).get_origins(), timeout_s)
    if as_json:
        show_json(found)
        return
    for origin in found:
        click.echo(
            f"{origin.at:%Y-%m-%dT%H:%M:%SZ} {plain(f'{origin.org_id}/{origin.agent_id}')} {origin.sha}"
        )
