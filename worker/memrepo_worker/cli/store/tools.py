"""What the commands of a store share: the store that is meant, what works on it, and how it is told."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click

from memrepo.cli.common import say_where_from
from memrepo.cli.ending import CONFLICT, CommandError, plain
from memrepo.cli.output import show_json
from memrepo.clock import system_clock
from memrepo.errors import BrokerUnavailableError, InvalidRequestError
from memrepo.redis.address import masked
from memrepo.validation.values import check_id
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks.machine import check_git, unusable_cache
from memrepo_worker.cli.failures import translating_failures
from memrepo_worker.cli.here import require_store, settings_here
from memrepo_worker.git.command import GitTroubleError
from memrepo_worker.group import Agent
from memrepo_worker.inspection.memories import Memories
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.contents import RefusedNames
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.agreement import recorded_store
from memrepo_worker.queues.reach import reaching
from memrepo_worker.repos.slots import CacheUnusableError
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.decorators.retry import RetryingStore
from memrepo_worker.store.identity import read_identity
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.upkeep.folding import Folder

_CONNECTIONS = 16
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_SAYS_FULL = re.compile("no space left|quota exceeded|read-only file system", re.IGNORECASE)


@dataclass(frozen=True)
class Tools:
    """What works on whole memories of one store. ``store`` tries again what may be; ``opened`` is the store itself.

    What is looked through lies in ``cache_dir`` meanwhile.
    """

    store: Store
    memories: Memories
    adopter: Adopter
    transfer: Transfer
    folder: Folder
    verifier: Verifier
    opened: Store
    cache_dir: Path


@contextmanager
def open_tools(*, as_json: bool, writes: bool = True, needs_git: bool = True) -> Iterator[Tools]:
    """Open the store that the settings name, or the running ``memrepo up`` of this folder; none is begun here.

    Another one than the broker's workers serve is not written to; that it is another one is said where it is only read.
    Without git nothing is begun, unless it is not needed.
    """
    settings, up = settings_here()
    url = require_store(settings)
    say_where_from(up, as_json=as_json)
    with (
        translating_failures(),
        naming_the_cache(settings.cache_dir),
        ThreadPoolExecutor(_CONNECTIONS) as executor,
    ):
        git = build_git(Counters(), settings.git_caps)
        if needs_git:
            check_git(git)
        opened = open_store(url, begin=False)
        _compare_with_broker(settings, opened, writes=writes)
        store = RetryingStore(opened, Random())  # noqa: S311 - jitter
        yield Tools(
            store,
            Memories(opened),
            Adopter(store, git, executor, system_clock, settings.limits),
            Transfer(store, git, executor, system_clock, settings.limits),
            Folder(store, git, executor, system_clock, secrets.token_bytes, settings.cache_dir / "folding"),
            Verifier(store, git, executor, system_clock, settings.cache_dir / "verifying"),
            opened,
            settings.cache_dir,
        )


@contextmanager
def naming_the_cache(folder: Path) -> Iterator[None]:
    """Say which setting names the folder in which journals are worked on, where it cannot be used.

    Raises:
        CacheUnusableError: it cannot.
    """
    try:
        yield
    except OSError as error:
        at = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        if at is None or not (at.is_relative_to(folder) or folder.is_relative_to(at)):
            raise
        raise CacheUnusableError(unusable_cache(folder, error.strerror)) from error


@contextmanager
def naming_what_is_full(folder: Path) -> Iterator[None]:
    """Name the folder in which journals are worked on where what it lies on takes nothing more: git names none.

    Raises:
        CacheUnusableError: it takes nothing more.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        raise CacheUnusableError(unusable_cache(folder, os.strerror(error.errno))) from error
    except GitTroubleError as error:
        if not _SAYS_FULL.search(str(error)):
            raise
        raise CacheUnusableError(unusable_cache(folder, str(error))) from error


@contextmanager
def saying_who_names_damage(agent: Agent) -> Iterator[None]:
    """Name the memory and the place, where a journal is damaged: what ends there need not be what is damaged.

    Raises:
        JournalDamagedError: as before, with that.
    """
    hint = f"run memrepo store verify {agent.org_id} {agent.agent_id}, which names what is damaged"
    try:
        yield
    except JournalDamagedError as error:
        key = Layout.of(agent.org_id, agent.agent_id).place_of(error.seq, in_base=error.in_base)
        at = "" if key in str(error) else f"at {key}: "
        told = f"{agent} cannot be read: {at}{error}: {hint}"
        raise type(error)(told, error.seq, in_base=error.in_base) from error


def _compare_with_broker(settings: WorkerSettings, store: Store, *, writes: bool) -> None:
    """Refuse a store that is not the one of the broker's workers. A broker that does not answer is not waited for."""
    for each in settings.of_each_cell():
        _compare_with_one(each, store, writes=writes)


def _compare_with_one(settings: WorkerSettings, store: Store, *, writes: bool) -> None:
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


def org_named(org: str) -> str:
    """Return the org that an argument names.

    Raises:
        UsageError: no org can have that name.
    """
    try:
        return check_id(org, "ORG")
    except InvalidRequestError as error:
        raise click.UsageError(str(error)) from None


def agent_named(org: str, agent: str) -> Agent:
    """Return the agent that two arguments name.

    Raises:
        UsageError: none can have that name.
    """
    try:
        return Agent(check_id(org, "ORG"), check_id(agent, "AGENT"))
    except InvalidRequestError as error:
        raise click.UsageError(str(error)) from None


def show(agent: Agent, words: str, values: Mapping[str, object], *, as_json: bool) -> None:
    """Print what a command has to say of one agent: in words, or as a document."""
    if as_json:
        show_json({"org_id": agent.org_id, "agent_id": agent.agent_id, **values})
    else:
        click.echo(plain(f"{agent}: {words}"))


def show_line(agent: Agent, words: str, values: Mapping[str, object], *, as_json: bool) -> None:
    """Print a line, or an object on a line, of one agent among many."""
    whole = {"org_id": agent.org_id, "agent_id": agent.agent_id, **values}
    click.echo(json.dumps(whole, ensure_ascii=False) if as_json else plain(words))


def refused_lines(refused: Iterable[RefusedNames]) -> str:
    """Return a line for each kind of names that commits are refused."""
    return "".join(f"\n  {plain(str(names))}" for names in refused)
