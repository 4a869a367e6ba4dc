"""``memrepo store adopt``: memories that a Letta server left behind."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from memrepo.cli.common import json_option
from memrepo.errors import MemoryRepoError
from memrepo.wording import counted
from memrepo_worker.cli.store.tools import agent_named, open_tools, refused_lines, show_line
from memrepo_worker.git.command import GitError
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import JournalUnreadableError
from memrepo_worker.migration.adoption import Adopter, Adoption
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.store.interface import RefusedError

_BROKEN = (
    LegacyLayoutError,
    JournalUnreadableError,
    GitError,
    MemoryRepoError,
    RefusedError,
)  # of one agent: the others go on


@click.command(short_help="Take over memories that a Letta server left behind.")
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option("--all", "everyone", is_flag=True, help="Adopt every agent; those done before are passed over.")
@click.option("--remove-old-files", is_flag=True, help="Remove the old files of agents that are adopted.")
@click.option("--trust-claims", is_flag=True, help="Believe commits that say that memrepo made them.")
@json_option
def adopt(
    org: str | None,
    agent: str | None,
    everyone: bool,
    remove_old_files: bool,
    trust_claims: bool,
    as_json: bool,
) -> None:
    """Take over memories that a Letta server left behind, history and shas unchanged.

    What is too broken is reported and left untouched; then the exit code is 1. With --json there is one line, and one
    JSON object, for each agent.
    """
    if everyone == bool(org and agent):
        raise click.UsageError("Name ORG and AGENT, or give --all.")
    if everyone:
        _adopt_all(remove_old_files=remove_old_files, trust_claims=trust_claims, as_json=as_json)
        return
    whose = agent_named(org or "", agent or "")
    with open_tools(as_json=as_json) as tools:
        _adopt_one(
            tools.adopter,
            whose,
            remove_old_files=remove_old_files,
            trust_claims=trust_claims,
            as_json=as_json,
        )


def _adopt_all(*, remove_old_files: bool, trust_claims: bool, as_json: bool) -> None:
    broken = 0
    with open_tools(as_json=as_json) as tools:
        agents = list(tools.adopter.agents())
        with click.progressbar(agents, label="adopting", hidden=as_json, file=sys.stderr) as bar:
            for whose in bar:
                try:
                    _adopt_one(
                        tools.adopter,
                        whose,
                        remove_old_files=remove_old_files,
                        trust_claims=trust_claims,
                        as_json=as_json,
                    )
                except _BROKEN as error:
                    broken += 1
                    named = "" if str(error).startswith(str(whose)) else f"{whose}: "
                    show_line(whose, f"BROKEN  {named}{error}", {"error": str(error)}, as_json=as_json)
    if broken:
        raise MemoryRepoError(
            f"{broken} of {len(agents)} could not be adopted.", {"agents": len(agents), "broken": broken}
        )


def _adopt_one(
    adopter: Adopter, agent: Agent, *, remove_old_files: bool, trust_claims: bool, as_json: bool
) -> None:
    report = adopter.adopt(agent, trust_claims=trust_claims)
    removed = adopter.remove_old_files(agent) if remove_old_files else 0
    values = {name: value for name, value in asdict(report).items() if name != "agent"}
    words = _line(report) + (f", {counted(removed, 'old file')} removed" if removed else "")
    show_line(agent, words, {**values, "files_removed": removed}, as_json=as_json)


def _line(report: Adoption) -> str:
    if report.already:
        return f"{report.agent}: has a memory already, nothing to adopt"
    recovered = "".join(f", {count} recovered on {name}" for name, count in report.recovered.items())
    size = ", ".join(
        (
            counted(report.commits, "commit"),
            counted(report.branches, "branch"),
            counted(report.bytes_read, "byte"),
        )
    )
    return f"{report.agent}: {size}{recovered}{refused_lines(report.refused_names)}"
