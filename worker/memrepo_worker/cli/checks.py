"""What a worker needs before it can serve: one function each, which says what it found or what is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from memrepo.clock import system_clock
from memrepo.errors import BrokerUnavailableError, MemoryRepoError
from memrepo.redis.address import masked
from memrepo.redis.errors import MissingRightsError
from memrepo.redis.rights import require_rights
from memrepo.wire.rights import WORKER_ON_RESULTS, worker_on_broker
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.queues.leases.agreement import (
    StoreRecord,
    check_cells,
    check_names,
    check_shards,
    check_store_identity,
    claim_store,
)
from memrepo_worker.queues.reach import reaching, try_out
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.identity import begin_identity, read_identity
from memrepo_worker.store.interface import NotBegunError, StoreError
from memrepo_worker.store.open import open_store
from memrepo_worker.store.probe import UnsafeStoreError, check_lifecycle, probe, probe_daily, token_of_trial
from memrepo_worker.store.replaces import fault_of_replaces

_NEARLY_FULL = 0.9
"""From which part of its memory on a broker is near its end."""

_OF_A_WORKER = " That is what a worker needs; a producer's user needs less: give doctor a worker's address."


class NotFitError(Exception):
    """A worker cannot serve like this; the message is one line that says what to mend."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold. ``run`` returns what it found, or raises ``NotFitError``."""

    name: str
    run: Callable[[], str]


def checks_of_cell(settings: WorkerSettings) -> Sequence[Check]:
    """Return the checks of another cell, whose workers have their machines and the store in common with the first's."""
    apart = settings.results != settings.broker
    return (
        Check("broker", lambda: check_broker(settings)),
        *([Check("results", lambda: check_results(settings))] if apart else []),
        Check("store", lambda: f"identity {check_identity(settings)}"),
    )


def checks(settings: WorkerSettings, git: Git, *, anew: bool) -> Sequence[Check]:
    """Return all checks, the quickest first; ``anew`` tries the store out even if it was found safe today."""
    apart = settings.results != settings.broker
    silent = []

    def check_broker_first() -> str:
        try:
            return check_broker(settings)
        except NotFitError as error:
            silent.extend([True] * isinstance(error.__cause__, BrokerUnavailableError))
            raise

    return (
        Check("git", lambda: check_git(git)),
        Check("cache", lambda: check_cache(settings)),
        Check("broker", check_broker_first),
        *([Check("results", lambda: check_results(settings))] if apart else []),
        # A broker that is silent has cost its seconds already.
        Check("store", lambda: check_whole_store(settings, anew=anew, ask_broker=not silent)),
    )


def require(settings: WorkerSettings, git: Git) -> None:
    """Run all checks; raises ``NotFitError`` at the first that fails."""
    for check in checks(settings, git, anew=False):
        check.run()


def check_git(git: Git) -> str:
    """Check that git is there and new enough."""
    try:
        return git.require_version()
    except GitError as error:
        raise NotFitError(str(error)) from error


def check_broker(settings: WorkerSettings) -> str:
    """Check that the broker serves us, keeps what it is given, and is used by others as we use it."""
    try:
        with reaching(settings.broker, "broker") as broker:
            try_out(broker, settings.broker, worker_on_broker(settings.broker.database))
            if settings.results == settings.broker:
                require_rights(broker, WORKER_ON_RESULTS, settings.broker.username)
            check_cells(broker, settings.cell, settings.each_cell)
            check_shards(broker, settings.shards)
            check_names(broker, settings.limits.portable_names)
            memory, persistence = broker.info("memory"), broker.info("persistence")
    except MemoryRepoError as error:
        hint = _OF_A_WORKER if isinstance(error.__cause__, MissingRightsError) else ""
        raise NotFitError(f"{error.message}{hint}") from error
    found = [str(settings.broker)]
    if not persistence.get("aof_enabled"):
        found.append("WARNING: appendonly is off, so a restart of it loses what is queued")
    used, most = memory.get("used_memory", 0), memory.get("maxmemory", 0)
    if 0 < most <= used:
        found.append("WARNING: its memory is full, so that it takes no requests until workers have made room")
    elif used > _NEARLY_FULL * most > 0:
        found.append(
            f"WARNING: {used / most:.0%} of its memory (maxmemory) is used: once it is full it takes no requests"
        )
    if memory.get("maxmemory_policy") != "noeviction":
        found.append("WARNING: maxmemory-policy is not noeviction, so it may drop what is queued")
    return "; ".join(found)


def check_results(settings: WorkerSettings) -> str:
    """Check that the result store takes results."""
    try:
        with reaching(settings.results, "result store") as results:
            try_out(results, settings.results, WORKER_ON_RESULTS)
    except MemoryRepoError as error:
        raise NotFitError(error.message) from error
    return str(settings.results)


def check_store(settings: WorkerSettings, *, anew: bool) -> str:
    """Check that the store keeps what the journal rests on; a good verdict of the last day will do unless ``anew``.

    Tried anew, it is also said whether memories can be folded there.
    """
    warning = ""
    try:
        store = open_store(settings.store_url)
        check_lifecycle(store)
        if anew:
            probe(store)
            fault = fault_of_replaces(store, lambda: token_of_trial(system_clock()))
            warning = f"; WARNING: memories cannot be folded there: {fault}" if fault else ""
        else:
            probe_daily(store, settings.cache_dir, system_clock)
    except (StoreError, UnsafeStoreError) as error:
        raise NotFitError(f"the store cannot be used: {error}") from error
    return masked(store.name) + warning


def check_whole_store(settings: WorkerSettings, *, anew: bool, ask_broker: bool = True) -> str:
    """Check that the store is the one of this broker, then that it is safe: nothing is written to another's."""
    identity = check_identity(settings, ask_broker=ask_broker)
    if anew and (not_there := _not_begun(settings)):  # its name may be misspelt: only who serves makes it
        return f"{masked(settings.store_url)}; WARNING: no store is here yet: {not_there}"
    address = check_store(settings, anew=anew)
    return f"{address}; {f'identity {identity}' if identity else 'WARNING: no identity yet, a new store begins here'}"


def check_identity(settings: WorkerSettings, *, ask_broker: bool = True) -> str | None:
    """Check that the store is the one that this broker's workers serve; return its id, None where it has none yet.

    A broker that cannot be reached is another check's to tell, and is not asked again.
    """
    address = masked(settings.store_url)
    try:
        store = open_store(settings.store_url, begin=False)
        address, identity = masked(store.name), read_identity(store)
    except NotBegunError:
        identity = None
    except StoreError as error:
        raise NotFitError(f"the store cannot be used: {error}") from error
    if not ask_broker:
        return identity
    with suppress(BrokerUnavailableError), reaching(settings.broker, "broker") as broker:
        try:
            check_store_identity(broker, identity, address)
        except MemoryRepoError as error:
            raise NotFitError(str(error)) from error
    return identity


def _not_begun(settings: WorkerSettings) -> str:
    """Say what is not there, if the store is a folder that nobody has made yet."""
    try:
        open_store(settings.store_url, begin=False)
    except NotBegunError as error:
        return str(error)
    return ""


def agree_on_store(settings: WorkerSettings) -> str:
    """Have all workers of the broker serve one store, this one if it is the first; return the store's id.

    A store that has no identity is given one only where the broker has no store yet.
    """
    try:
        store = open_store(settings.store_url)
        with reaching(settings.broker, "broker") as broker:
            check_store_identity(broker, read_identity(store), masked(store.name))
            identity = begin_identity(store, lambda: secrets.token_hex(16))
            claim_store(broker, StoreRecord(identity, masked(store.name)))
    except StoreError as error:
        raise NotFitError(f"the store cannot be used: {error}") from error
    except MemoryRepoError as error:
        raise NotFitError(str(error)) from error
    return identity


def check_cache(settings: WorkerSettings) -> str:
    """Check that the cache folder can be written."""
    folder = settings.cache_dir
    probe = folder / f"probe-{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise NotFitError(f"the cache folder {folder} cannot be written: {error.strerror}") from error
    return str(folder)
