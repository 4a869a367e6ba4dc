"""``memrepo store purge``: what a delete left as versions in a bucket with versioning."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import click

from memrepo.cli.common import confirm, json_option, of_agent
from memrepo.cli.ending import CONFLICT, CommandError
from memrepo.redis.address import masked
from memrepo.wording import counted
from memrepo_worker.cli.store.tools import Tools, agent_named, open_tools, show
from memrepo_worker.store.versions import Versioned
from memrepo_worker.upkeep.purging import NotPurgeableError, Purger


@click.command(short_help="Remove for good what a delete left as versions in the bucket.")
@of_agent
@click.option("--dry-run", is_flag=True, help="Only say how much that is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(org: str, agent: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove for good what `memrepo delete` has freed and a bucket with versioning keeps all the same.

    That is every version, and delete marker, of the memory that was deleted. What the agent has begun since then stays,
    with all its versions.
    """
    whose = agent_named(org, agent)
    if as_json and not yes and not dry_run:
        raise click.UsageError("With --json nobody is asked: say --yes.")
    with open_tools(as_json=as_json, writes=not dry_run, needs_git=False) as tools, _saying_why_not():
        purger = _purger(tools)
        plan = purger.plan(whose)
        size = f"{counted(len(plan.noncurrent), 'version')} ({counted(plan.size, 'byte')})"
        words = f"{size} and {counted(len(plan.delete_markers), 'delete marker')}"
        if not dry_run and plan.any:
            if not yes:
                confirm(f"Remove {words} of {whose} for good?")
            purger.purge(whose, plan)
    values = {
        "versions": len(plan.noncurrent),
        "bytes": plan.size,
        "delete_markers": len(plan.delete_markers),
        "dry_run": dry_run,
    }
    show(whose, f"{words} {'to remove' if dry_run else 'removed'}", values, as_json=as_json)


def _purger(tools: Tools) -> Purger:
    if not isinstance(tools.opened, Versioned):
        raise NotPurgeableError(
            f"{masked(tools.opened.name)} keeps no versions: what was deleted there left none"
        )
    return Purger(
        tools.store, tools.opened, lambda: secrets.token_hex(16), tools.folder.git.caps.entry_bytes_max
    )


@contextmanager
def _saying_why_not() -> Iterator[None]:
    try:
        yield
    except NotPurgeableError as error:
        raise CommandError("ConflictError", str(error), CONFLICT) from error
