"""``memrepo store …``: whole memories in the store: verify, export, import, and adopt from the legacy layout.

These speak to the store directly, beside the workers: what they write is an entry like any other.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import click

from memrepo.cli.common import confirm, json_option, of_agent, say_where_from
from memrepo.cli.ending import CONFLICT, CommandError, plain
from memrepo.cli.output import counted, show_json
from memrepo.clock import system_clock
from memrepo.errors import BrokerUnavailableError, InvalidRequestError, MemoryRepoError
from memrepo.redis.address import masked
from memrepo.validation.values import check_id
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.cli.here import require_store, settings_here
from memrepo_worker.git.command import GitError
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import JournalUnreadableError
from memrepo_worker.migration.adoption import Adopter, Adoption
from memrepo_worker.migration.contents import RefusedNames
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.agreement import StoreRecord, accept_store, recorded_store
from memrepo_worker.queues.leases.status import live_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.decorators.retry import RetryingStore
from memrepo_worker.store.identity import begin_identity, read_identity
from memrepo_worker.store.interface import RefusedError, Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.replaces import fault_of_replaces
from memrepo_worker.store.versions import Versioned
from memrepo_worker.upkeep.folding import Folder
from memrepo_worker.upkeep.purging import NotPurgeableError, Purger

_CONNECTIONS = 16

_BROKEN = (
    LegacyLayoutError,
    JournalUnreadableError,
    GitError,
    MemoryRepoError,
    RefusedError,
)  # of one agent: the others go on


@dataclass(frozen=True)
class _Tools:
    store: Store
    adopter: Adopter
    transfer: Transfer
    folder: Folder
    opened: Store


@contextmanager
def _tools(*, as_json: bool, writes: bool = True) -> Iterator[_Tools]:
    """Open the store that the settings name, or the running ``memrepo up`` of this folder; none is begun here.

    Another one than the broker's workers serve is not written to; that it is another one is said where it is only read.
    """
    settings, up = settings_here()
    url = require_store(settings)
    say_where_from(up, as_json=as_json)
    with translating_failures(), ThreadPoolExecutor(_CONNECTIONS) as executor:
        git = build_git(Counters(), settings.git_caps)
        git.require_version()
        opened = open_store(url, begin=False)
        _compare_with_broker(settings, opened, writes=writes)
        store = RetryingStore(opened, Random())  # noqa: S311 - jitter
        yield _Tools(
            store,
            Adopter(store, git, executor, system_clock, settings.limits),
            Transfer(store, git, executor, system_clock, settings.limits),
            Folder(store, git, executor, system_clock, secrets.token_bytes, settings.cache_dir / "folding"),
            opened,
        )


def _compare_with_broker(settings: WorkerSettings, store: Store, *, writes: bool) -> None:
    """Refuse a store that is not the one of the broker's workers. A broker that does not answer is not waited for."""
    recorded = None
    with suppress(BrokerUnavailableError), reaching(settings.broker, "broker") as broker:
        recorded = recorded_store(broker)
    if recorded is None or recorded.id == read_identity(store):
        return
    other = f"{masked(store.name)} is not the store that the workers of {settings.broker} serve, {recorded}"
    if writes:
        raise CommandError(
            "ConflictError",
            f"{other}: name that one, or have them serve this one by `memrepo store accept`",
            CONFLICT,
        )
    click.echo(plain(f"WARNING: {other}"), err=True)


@click.group()
def store() -> None:
    """Verify, fold, export, import, adopt and purge whole memories, in the store itself; accept one that was exchanged.

    The store is that of MEMREPO_STORE_URL or, where that is not set, of the `memrepo up` that runs in this folder.
    """


@store.command(short_help="Have the workers of a broker serve this store from now on.")
@json_option
def accept(as_json: bool) -> None:
    """Have the workers of the broker serve this store from now on, where they would refuse it as another one.

    For a store that was exchanged on purpose, such as a folder that was made anew. Stop all workers first. What waits
    in the queues is then applied to this store.
    """
    settings, up = settings_here()
    url = require_store(settings)
    say_where_from(up, as_json=as_json)
    with translating_failures(), reaching(settings.broker, "broker") as broker:
        found = open_store(url)
        before = recorded_store(broker)
        running = live_workers(broker)
        if running and (before is None or read_identity(found) != before.id):
            raise CommandError(
                "ConflictError",
                f"{', '.join(running)} still run: stop all workers first, as each keeps to the store it began with "
                "(one that was killed counts as dead a lease later)",
                CONFLICT,
            )
        now = StoreRecord(begin_identity(found, lambda: secrets.token_hex(16)), masked(found.name))
        accept_store(broker, now)
    values = {"store": now.id, "url": now.name, "before": before.id if before else None}
    if as_json:
        show_json(values)
    else:
        click.echo(plain(f"the broker's workers serve {now}" + (f", before that {before}" if before else "")))


def _agent(org: str, agent: str) -> Agent:
    try:
        return Agent(check_id(org, "ORG"), check_id(agent, "AGENT"))
    except InvalidRequestError as error:
        raise click.UsageError(str(error)) from None


@store.command(short_help="Have stock git check every object of a memory.")
@of_agent
@json_option
def verify(org: str, agent: str, as_json: bool) -> None:
    """Read an agent's whole journal and have stock git check every object of it."""
    whose = _agent(org, agent)
    with _tools(as_json=as_json, writes=False) as tools:
        commits = tools.transfer.verify(whose)
    _show(whose, f"{counted(commits, 'commit')}, sound", {"commits": commits, "sound": True}, as_json=as_json)


@store.command(short_help="Join a memory's entries, so that it opens quickly whatever its age.")
@of_agent
@json_option
def fold(org: str, agent: str, as_json: bool) -> None:
    """Join the entries of an agent's journal into a base and segments, so that opening it stays quick with age.

    The entries stay, and workers go on meanwhile. What is made was verified by stock git; done again, it makes only
    what is new. A store that does not honour conditional replaces is refused.
    """
    whose = _agent(org, agent)
    with _tools(as_json=as_json) as tools:
        fault = fault_of_replaces(tools.store, lambda: secrets.token_hex(16))
        if fault is not None:
            raise RefusedError(f"memories in {masked(tools.store.name)} cannot be folded: {fault}")
        done = tools.folder.fold(whose, lambda key: click.echo(plain(f"{key} made"), err=True))
    words = (
        f"{done.folded} of {done.entries} entries joined, {counted(len(done.made), 'object')} made "
        f"({counted(done.bytes_written, 'byte')}), {done.removed} removed"
    )
    _show(whose, words, {**asdict(done), "made": list(done.made)}, as_json=as_json)


@store.command(short_help="Remove for good what a delete left as versions in the bucket.")
@of_agent
@click.option("--dry-run", is_flag=True, help="Only say how much that is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(org: str, agent: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove for good what `memrepo delete` has freed and a bucket with versioning keeps all the same.

    That is every version, and delete marker, of the memory that was deleted. What the agent has begun since then stays,
    with all its versions.
    """
    whose = _agent(org, agent)
    if as_json and not yes and not dry_run:
        raise click.UsageError("With --json nobody is asked: say --yes.")
    with _tools(as_json=as_json, writes=not dry_run) as tools, _saying_why_not():
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
    _show(whose, f"{words} {'to remove' if dry_run else 'removed'}", values, as_json=as_json)


def _purger(tools: _Tools) -> Purger:
    if not isinstance(tools.opened, Versioned):
        raise NotPurgeableError(
            f"{masked(tools.opened.name)} keeps no versions: what was deleted there left none"
        )
    return Purger(tools.store, tools.opened, lambda: secrets.token_hex(16))


@contextmanager
def _saying_why_not() -> Iterator[None]:
    try:
        yield
    except NotPurgeableError as error:
        raise CommandError("ConflictError", str(error), CONFLICT) from error


@store.command(short_help="Write a memory to a bundle that git can clone.")
@of_agent
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(org: str, agent: str, file: Path, as_json: bool) -> None:
    """Write an agent's memory to FILE, a bundle that `git clone FILE` takes; a file that is there stays as it is."""
    whose = _agent(org, agent)
    if file.exists():
        raise CommandError(
            "ConflictError", f"{file} is there already: remove it, or name another file", CONFLICT
        )
    with _tools(as_json=as_json, writes=False) as tools:
        size = tools.transfer.export(whose, file.absolute())
    _show(
        whose,
        f"{counted(size, 'byte')} written to {file}",
        {"file": str(file), "bytes": size},
        as_json=as_json,
    )


@store.command("import", short_help="Begin a memory from a bundle made by git.")
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
    whose = _agent(org, agent)
    with _tools(as_json=as_json) as tools:
        refused: list[RefusedNames] = []
        commits = tools.transfer.import_(
            whose, file, refused.extend, allow_over_limits=allow_over_limits, trust_claims=trust_claims
        )
    values = {"commits": commits, "refused_names": [asdict(names) for names in refused]}
    _show(whose, f"{counted(commits, 'commit')} imported{_refused_lines(refused)}", values, as_json=as_json)


def _show(agent: Agent, words: str, values: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        show_json({"org_id": agent.org_id, "agent_id": agent.agent_id, **values})
    else:
        click.echo(plain(f"{agent}: {words}"))


@store.command(short_help="Take over memories that a Letta server left behind.")
@click.argument("org", required=False)
@click.argument("agent", required=False)
@click.option("--all", "everyone", is_flag=True, help="Adopt every agent; those done before are passed over.")
@click.option("--remove-old-files", is_flag=True, help="Remove the old files of agents that are adopted.")
@json_option
def adopt(org: str | None, agent: str | None, everyone: bool, remove_old_files: bool, as_json: bool) -> None:
    """Take over memories that a Letta server left behind, history and shas unchanged.

    What is too broken is reported and left untouched; then the exit code is 1. With --json there is one line, and one
    JSON object, for each agent.
    """
    if everyone == bool(org and agent):
        raise click.UsageError("Name ORG and AGENT, or give --all.")
    if everyone:
        _adopt_all(remove_old_files=remove_old_files, as_json=as_json)
        return
    whose = _agent(org or "", agent or "")
    with _tools(as_json=as_json) as tools:
        _adopt_one(tools.adopter, whose, remove_old_files=remove_old_files, as_json=as_json)


def _adopt_all(*, remove_old_files: bool, as_json: bool) -> None:
    broken = 0
    with _tools(as_json=as_json) as tools:
        agents = list(tools.adopter.agents())
        with click.progressbar(agents, label="adopting", hidden=as_json, file=sys.stderr) as bar:
            for whose in bar:
                try:
                    _adopt_one(tools.adopter, whose, remove_old_files=remove_old_files, as_json=as_json)
                except _BROKEN as error:
                    broken += 1
                    named = "" if str(error).startswith(str(whose)) else f"{whose}: "
                    _tell(whose, f"BROKEN  {named}{error}", {"error": str(error)}, as_json=as_json)
    if broken:
        raise MemoryRepoError(
            f"{broken} of {len(agents)} could not be adopted.", {"agents": len(agents), "broken": broken}
        )


def _adopt_one(adopter: Adopter, agent: Agent, *, remove_old_files: bool, as_json: bool) -> None:
    report = adopter.adopt(agent)
    removed = adopter.remove_old_files(agent) if remove_old_files else 0
    values = {name: value for name, value in asdict(report).items() if name != "agent"}
    words = _line(report) + (f", {counted(removed, 'old file')} removed" if removed else "")
    _tell(agent, words, {**values, "files_removed": removed}, as_json=as_json)


def _tell(agent: Agent, words: str, values: Mapping[str, object], *, as_json: bool) -> None:
    """Print a line, or an object on a line, of one agent among many."""
    whole = {"org_id": agent.org_id, "agent_id": agent.agent_id, **values}
    click.echo(json.dumps(whole, ensure_ascii=False) if as_json else plain(words))


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
    return f"{report.agent}: {size}{recovered}{_refused_lines(report.refused_names)}"


def _refused_lines(refused: Iterable[RefusedNames]) -> str:
    return "".join(f"\n  {plain(str(names))}" for names in refused)
