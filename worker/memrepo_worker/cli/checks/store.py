"""What the store must keep and let a worker do, and whose it is."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from memrepo.clock import system_clock
from memrepo.errors import BrokerUnavailableError, MemoryRepoError
from memrepo.redis.address import masked
from memrepo_worker.cli.checks.check import Found, NotFitError
from memrepo_worker.queues.leases.agreement import StoreRecord, check_store_identity, claim_store
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.identity import begin_identity, read_identity
from memrepo_worker.store.interface import NotBegunError, Store, StoreError
from memrepo_worker.store.open import open_store
from memrepo_worker.store.probe import UnsafeStoreError, check_lifecycle, probe, probe_daily, token_of_trial
from memrepo_worker.store.replaces import fault_of_replaces
from memrepo_worker.store.versions import Versioned


def check_store(settings: WorkerSettings, *, anew: bool) -> Found:
    """Check that the store keeps what the journal rests on; a good verdict of the last day will do unless ``anew``.

    Tried anew, it is also said whether memories can be folded there.
    """
    warnings: list[str] = []
    try:
        store = open_store(settings.store_url)
        check_lifecycle(store)
        if anew:
            probe(store)
            fault = fault_of_replaces(store, lambda: token_of_trial(system_clock()))
            if fault:
                warnings.append(f"memories cannot be folded there, and opening grows with their age: {fault}")
            warnings += _of_versions(store)
        else:
            probe_daily(store, settings.cache_dir, system_clock)
    except (StoreError, UnsafeStoreError) as error:
        raise NotFitError(f"the store cannot be used: {error}") from error
    return Found(masked(store.name), tuple(warnings))


def _of_versions(store: Store) -> Iterator[str]:
    with suppress(StoreError):  # the right to ask is not one that a worker needs
        if isinstance(store, Versioned) and store.keeps_versions():
            yield (
                "its bucket keeps versions, also of what a delete has removed: run `memrepo store purge` after a "
                "delete that must leave nothing, or have a lifecycle rule remove noncurrent versions"
            )


def check_whole_store(settings: WorkerSettings, *, anew: bool, ask_broker: bool = True) -> Found:
    """Check that the store is the one of this broker, then that it is safe: nothing is written to another's."""
    identity = check_identity(settings, ask_broker=ask_broker)
    if anew and (not_there := _not_begun(settings)):  # its name may be misspelt: only who serves makes it
        return Found(masked(settings.store_url), (f"no store is here yet: {not_there}",))
    found = check_store(settings, anew=anew)
    if identity:
        return replace(found, text=f"{found.text}, identity {identity}")
    return replace(found, warnings=(*found.warnings, "it has no identity yet: a new store begins here"))


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
