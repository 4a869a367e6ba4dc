"""Searching the files of a memory."""

from __future__ import annotations

import click

from memrepo.cli.commands.read import limit_option
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
from memrepo.cli.output import show_json, show_matches
from memrepo.wire.requests.search import CONTEXT_MAX, SEARCH_LIMIT_MAX


@click.command()
@of_agent
@click.argument("pattern")
@click.argument("paths", nargs=-1)
@ref_option
@click.option("-E", "--regex", is_flag=True, help="PATTERN is a regular expression, as RE2 has them.")
@click.option("-i", "--ignore-case", is_flag=True, help="Let case make no difference.")
@click.option(
    "-C",
    "--context",
    metavar="N",
    type=WholeNumber(0, CONTEXT_MAX),
    default=0,
    show_default=True,
    help="How many lines to show around each.",
)
@limit_option(SEARCH_LIMIT_MAX, "-n", "--limit", default=200)
@timeout_option
@json_option
def search(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    pattern: str,
    paths: tuple[str, ...],
    ref: str,
    regex: bool,
    ignore_case: bool,
    context: int,
    limit: int,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Find the lines that have PATTERN in them, in all files or at and below PATHS: path, line, text.

    PATTERN is a plain text unless --regex says otherwise. That nothing is found is an answer, and no error.
    """
    with client() as repos:
        job = repo_of(repos, org, agent).search(
            pattern,
            ref=ref,
            paths=paths or None,
            regex=regex,
            ignore_case=ignore_case,
            context=context,
            limit=limit,
        )
        matches = outcome_of(job, timeout_s)
    if as_json:
        show_json(matches)
        return
    show_matches(matches)
    if matches and matches[-1].limit_reached:
        click.echo(
            f"These are the first {len(matches)}, and there may be more: --limit asks for more.", err=True
        )
