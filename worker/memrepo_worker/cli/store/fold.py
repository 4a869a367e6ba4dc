"""``memrepo store fold``: joining what a journal's entries hold."""

from __future__ import annotations

import secrets
from dataclasses import asdict

import click

from memrepo.cli.common import json_option, of_agent
from memrepo.cli.ending import plain
from memrepo.cli.output import counted
from memrepo.redis.address import masked
from memrepo_worker.cli.store.tools import agent_named, open_tools, show
from memrepo_worker.store.interface import RefusedError
from memrepo_worker.store.replaces import fault_of_replaces


@click.command(short_help="Join a memory's entries, so that it opens quickly whatever its age.")
@of_agent
@json_option
def fold(org: str, agent: str, as_json: bool) -> None:
    """Join the entries of an agent's journal into a base and segments, so that opening it stays quick with age.

    The entries stay, and workers go on meanwhile. What is made was verified by stock git; done again, it makes only
    what is new. A store that does not honour conditional replaces is refused.
    """
    whose = agent_named(org, agent)
    with open_tools(as_json=as_json) as tools:
        fault = fault_of_replaces(tools.store, lambda: secrets.token_hex(16))
        if fault is not None:
            raise RefusedError(f"memories in {masked(tools.store.name)} cannot be folded: {fault}")
        done = tools.folder.fold(whose, lambda key: click.echo(plain(f"{key} made"), err=True))
    words = (
        f"{done.folded} of {done.entries} entries joined, {counted(len(done.made), 'object')} made "
        f"({counted(done.bytes_written, 'byte')}), {done.removed} removed"
    )
    show(whose, words, {**asdict(done), "made": list(done.made)}, as_json=as_json)
