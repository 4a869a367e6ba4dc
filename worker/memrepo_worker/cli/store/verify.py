"""``memrepo store verify``: whether memories are whole."""

from __future__ import annotations

import click

from memrepo.cli.common import json_option, of_agent
from memrepo.cli.output import counted
from memrepo_worker.cli.store.tools import agent_named, open_tools, show


@click.command(short_help="Have stock git check every object of a memory.")
@of_agent
@json_option
def verify(org: str, agent: str, as_json: bool) -> None:
    """Read an agent's whole journal and have stock git check every object of it."""
    whose = agent_named(org, agent)
    with open_tools(as_json=as_json, writes=False) as tools:
        commits = tools.transfer.verify(whose)
    show(whose, f"{counted(commits, 'commit')}, sound", {"commits": commits, "sound": True}, as_json=as_json)
