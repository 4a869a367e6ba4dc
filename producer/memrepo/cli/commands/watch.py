"""Following what changes in a memory."""

from __future__ import annotations

import json

import click

from memrepo.cli.common import client, json_option, of_agent, outcome_of, repo_of, timeout_option
from memrepo.cli.numbers import WholeNumber
from memrepo.cli.output import show_change, show_json, to_json
from memrepo.models import Change
from memrepo.wire.requests.feed import SEQ_MAX


@click.command()
@of_agent
@click.option(
    "--after",
    metavar="SEQ",
    type=WholeNumber(0, SEQ_MAX),
    show_default="from now on; with --no-follow all",
    help="Begin after this number, 0 for the beginning.",
)
@click.option("--no-follow", is_flag=True, help="Print what there is, and end.")
@timeout_option
@json_option
def watch(org: str, agent: str, after: int | None, no_follow: bool, timeout_s: float, as_json: bool) -> None:
    """Print what changes in a memory, as it comes: number, branch or tag, from which commit to which.

    With --json each is a line of its own, or with --no-follow one in a list.
    """
    with client() as repos:
        repo = repo_of(repos, org, agent)
        if no_follow:
            found: list[Change] = []
            seq, newest = after or 0, -1
            while seq != newest:
                feed = outcome_of(repo.get_changes(after=seq), timeout_s)
                found += feed
                seq, newest = feed.seq, max(feed.newest, feed.seq)
            if as_json:
                show_json(found)
            else:
                for change in found:
                    show_change(change)
            return
        # A watch waits out what is in its way: this tells it within --timeout.
        begin = outcome_of(repo.get_changes(after=after, limit=1), timeout_s)
        for change in repo.watch(after=begin.seq if after is None else after):
            click.echo(json.dumps(to_json(change), ensure_ascii=False)) if as_json else show_change(change)
