"""``memrepo store export`` and ``import``: whole memories as bundles of stock git."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from memrepo.cli.common import json_option, of_agent
from memrepo.cli.ending import CONFLICT, CommandError
from memrepo.wording import counted
from memrepo_worker.cli.store.tools import (
    agent_named,
    open_tools,
    refused_lines,
    saying_who_names_damage,
    show,
)
from memrepo_worker.migration.contents import RefusedNames


@click.command(short_help="Write a memory to a bundle that git can clone.")
@of_agent
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(org: str, agent: str, file: Path, as_json: bool) -> None:
    """Write an agent's memory to FILE, a bundle that `git clone FILE` takes; a file that is there stays as it is."""
    whose = agent_named(org, agent)
    if file.exists():
        raise CommandError(
            "ConflictError", f"{file} is there already: remove it, or name another file", CONFLICT
        )
    with open_tools(as_json=as_json, writes=False) as tools, saying_who_names_damage(whose):
        size = tools.transfer.export(whose, file.absolute())
    show(
        whose,
        f"{counted(size, 'byte')} written to {file}",
        {"file": str(file), "bytes": size},
        as_json=as_json,
    )


@click.command("import", short_help="Begin a memory from a bundle made by git.")
@of_agent
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--allow-over-limits", is_flag=True, help="Take files, messages and paths over the limits; list them."
)
@click.option("--trust-claims", is_flag=True, help="Believe commits that say that memrepo made them.")
@json_option
def import_(
    org: str, agent: str, file: Path, allow_over_limits: bool, trust_claims: bool, as_json: bool
) -> None:
    """Begin an agent's memory from FILE, a bundle made with `git bundle create FILE --all`; it is checked first."""
    whose = agent_named(org, agent)
    with open_tools(as_json=as_json) as tools, saying_who_names_damage(whose):
        refused: list[RefusedNames] = []
        commits = tools.transfer.import_(
            whose, file, refused.extend, allow_over_limits=allow_over_limits, trust_claims=trust_claims
        )
    values = {"commits": commits, "refused_names": [asdict(names) for names in refused]}
    show(whose, f"{counted(commits, 'commit')} imported{refused_lines(refused)}", values, as_json=as_json)
