"""``memrepo store …``: whole memories in the store: verify, export, import, and adopt from the legacy layout.

These speak to the store directly, beside the workers: what they write is an entry like any other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random  # noqa: TID251 - the composition root of a command

import click

from memrepo.clock import system_clock
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.validation import check_id
from memrepo_worker.assembly import build_git
from memrepo_worker.git.command import GitError
from memrepo_worker.group import Agent
from memrepo_worker.journal.adopt import Adopter, Adoption
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.seed import SeedBrokenError
from memrepo_worker.journal.transfer import Transfer
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.open import open_store
from memrepo_worker.store.retry import RetryingStore
from memrepo_worker.store.seam import StoreError

_CONNECTIONS = 16


@dataclass(frozen=True)
class _Tools:
    adopter: Adopter
    transfer: Transfer


@contextmanager
def _tools() -> Iterator[_Tools]:
    """Open the store that the settings name; errors end the command with one line."""
    settings = WorkerSettings.from_env()
    try:
        git = build_git(Counters(), settings.git_caps)
        git.require_version()
        store = RetryingStore(open_store(settings.store_url), Random())  # noqa: S311 - jitter
        with ThreadPoolExecutor(_CONNECTIONS) as executor:
            yield _Tools(
                Adopter(store, git, executor, system_clock),
                Transfer(store, git, executor, system_clock, settings.limits),
            )
    except (MemoryRepoError, StoreError, GitError, JournalDamagedError, SeedBrokenError) as error:
        raise click.ClickException(str(error)) from None


@click.group()
def store() -> None:
    """Verify, export, import and adopt whole memories, directly in the store (MEMREPO_STORE_URL)."""


def _agent(org: str, agent: str) -> Agent:
    try:
        return Agent(check_id(org, "ORG"), check_id(agent, "AGENT"))
    except InvalidRequestError as error:
        raise click.UsageError(str(error)) from None


@store.command()
@click.argument("org")
@click.argument("agent")
def verify(org: str, agent: str) -> None:
    """Read an agent's whole journal and have stock git check every object of it."""
    with _tools() as tools:
        commits = tools.transfer.verify(_agent(org, agent))
    click.echo(f"{org}/{agent}: {commits} commits, sound")


@store.command()
@click.argument("org")
@click.argument("agent")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export(org: str, agent: str, file: Path) -> None:
    """Write an agent's memory to FILE, a bundle that `git clone FILE` takes."""
    with _tools() as tools:
        size = tools.transfer.export(_agent(org, agent), file.absolute())
    click.echo(f"{org}/{agent}: {size} bytes written to {file}")


@store.command("import")
@click.argument("org")
@click.argument("agent")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_(org: str, agent: str, file: Path) -> None:
    """Begin an agent's memory from FILE, a bundle made with `git bundle create FILE --all`; it is checked first."""
    with _tools() as tools:
        commits = tools.transfer.import_(_agent(org, agent), file)
    click.echo(f"{org}/{agent}: {commits} commits imported")


@store.command()
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option("--all", "everyone", is_flag=True, help="Adopt every agent; those done before are passed over.")
@click.option("--remove-old-files", is_flag=True, help="Remove the old files of agents that are adopted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per agent.")
def adopt(org: str | None, agent: str | None, everyone: bool, remove_old_files: bool, as_json: bool) -> None:
    """Take over memories that a Letta server left behind, history and shas unchanged.

    What is too broken is reported and left untouched; then the exit code is 1.
    """
    if everyone == bool(org and agent):
        raise click.UsageError("Name ORG and AGENT, or give --all.")
    broken = 0
    with _tools() as tools:
        agents = list(tools.adopter.agents()) if everyone else [_agent(org or "", agent or "")]
        with click.progressbar(
            agents, label="adopting", hidden=not everyone or as_json, file=sys.stderr
        ) as bar:
            for each in bar:
                broken += not _adopt_one(
                    tools.adopter, each, remove_old_files=remove_old_files, as_json=as_json
                )
    if broken:
        click.echo(f"{broken} of {len(agents)} could not be adopted", err=True)
        raise SystemExit(1)


def _adopt_one(adopter: Adopter, agent: Agent, *, remove_old_files: bool, as_json: bool) -> bool:
    try:
        report = adopter.adopt(agent)
        removed = adopter.remove_old_files(agent) if remove_old_files else 0
    except SeedBrokenError as error:
        click.echo(json.dumps({"agent": str(agent), "error": str(error)}) if as_json else f"BROKEN  {error}")
        return False
    if as_json:
        click.echo(json.dumps({**asdict(report), "agent": str(agent), "files_removed": removed}))
    else:
        click.echo(_line(report) + (f", {removed} old files removed" if removed else ""))
    return True


def _line(report: Adoption) -> str:
    if report.already:
        return f"{report.agent}: was adopted before"
    recovered = "".join(f", {count} recovered on {name}" for name, count in report.recovered.items())
    size = f"{report.commits} commits, {report.branches} branches, {report.bytes_read} bytes"
    return f"{report.agent}: {size}{recovered}"
