"""Puts the service together from its settings: store, git, cache, threads."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from memrepo.clock import Clock, system_clock
from memrepo.settings import environment
from memrepo_worker.bounds import Bounds, SharingBounds
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.git.command import Git
from memrepo_worker.git.packed.mapping import limit_open_packs
from memrepo_worker.observe import Observer
from memrepo_worker.processes import Processes
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.service.handler import Service
from memrepo_worker.service.opening import ServiceDependencies
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.store.decorators.metering import MeteredStore
from memrepo_worker.store.decorators.retry import RetryingStore, RetryPolicy
from memrepo_worker.store.identity import IDENTITY_KEY, Anchored, IdentityGuard, IdentityWatch
from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.options import StoreOptions
from memrepo_worker.threads.fetchers import Fetchers
from memrepo_worker.upkeep.folding import Folder
from memrepo_worker.upkeep.owner import READ_BYTES_MAX, OwnerFolding
from memrepo_worker.upkeep.repacking import repacking
from memrepo_worker.upkeep.runner import UpkeepRunner
from memrepo_worker.upkeep.scratch import sweep_scratch

_OPEN_PACKS_MAX = 256


def build_git(observer: Observer, caps: GitCaps | None = None, bounds: Bounds | None = None) -> Git:
    """Return the isolated git command line; it is found where ``PATH`` says."""
    path = environment().get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return Git(
        Processes(observer, niceness=SharingBounds.git_niceness),
        path,
        caps=caps or GitCaps(),
        compared_bytes_max=(bounds or Bounds()).compared_bytes_max,
    )


@contextmanager
def open_service(
    settings: WorkerSettings,
    observer: Observer,
    *,
    store: Store | None = None,
    identity: str = "",
    clock: Clock = system_clock,
    monotonic: Clock = time.monotonic,
    retry: RetryPolicy | None = None,
    upkeep: UpkeepRunner | None = None,
) -> Iterator[Service]:
    """Open the service for as long as the block runs; leaving it writes what waits in memory to the cache.

    ``store`` stands in for the one that the settings name. ``identity`` is the id that lies in the store: while it is
    not there, or is another, nothing that the store says is believed. ``upkeep`` runs what keeps memories quick, and is
    closed with the service; without it nothing does.

    Raises:
        RefusedError: the store's address makes no sense, or it cannot be used.
        CacheUnusableError: the cache folder cannot be used.
        GitError: git is missing or too old.
    """
    git = build_git(observer, settings.git_caps, settings.bounds)
    git.require_version()
    limit_open_packs(_OPEN_PACKS_MAX)
    # Metering is below retrying, so that every request counts.
    store = store or _store(settings)
    watch = _watch(store, identity)
    metered = MeteredStore(store, observer)
    retrying = RetryingStore(metered, Random(), retry)  # noqa: S311 - jitter needs no cryptography
    confirm_store = IdentityGuard(retrying, identity).confirm if identity else _nothing
    cache = _cache(settings, f"{metered.name}#{identity}", git, observer, upkeep)
    with Fetchers(SharingBounds.fetches_max, settings.bounds.hanging_turns_max) as fetchers:
        folding = _folding(settings, retrying, git, fetchers, clock, cache, upkeep)
        service = Service(
            ServiceDependencies(
                retrying,
                fetchers,
                observer,
                clock,
                monotonic,
                settings.limits,
                settings.bounds,
                confirm_store=confirm_store,
                check_store=watch.check if watch is not None else _nothing,
                tip_proof_s=math.inf if settings.tip_proof_s is None else settings.tip_proof_s,
                journal_check_s=settings.journal_check_s,
                appended=folding.appended if folding else _nothing,
                opened=folding.opened if folding else _nothing,
            ),
            cache,
        )
        try:
            yield service
        finally:
            if upkeep is not None:
                upkeep.close()
            service.close()
            if watch is not None:
                watch.close()


def _cache(
    settings: WorkerSettings, store_name: str, git: Git, observer: Observer, upkeep: UpkeepRunner | None
) -> RepoCache:
    """Return the cache; ``store_name`` has the store's id: a copy of another one claims what was never in this."""
    cache = RepoCache(settings.cache_dir, store_name, git, observer, settings.cache_limits)
    if upkeep is not None:
        repacking(cache, git, upkeep)
    return cache


def _watch(store: Store, identity: str) -> IdentityWatch | None:
    """Have the store's id looked for as the store allows: by itself with each request, or by a watch of ours."""
    if identity and isinstance(store, Anchored):
        store.anchor(IDENTITY_KEY)
        return None
    return IdentityWatch(IdentityGuard(store, identity)) if identity else None


def _folding(
    settings: WorkerSettings,
    store: Store,
    git: Git,
    fetchers: Fetchers,
    clock: Clock,
    cache: RepoCache,
    upkeep: UpkeepRunner | None,
) -> OwnerFolding | None:
    """Return what folds the memories that grow here; None where nothing is to do so."""
    if upkeep is None or not settings.fold:
        return None
    scratch = settings.cache_dir / "folding"
    sweep_scratch(scratch)
    fresh_bytes = secrets.token_bytes
    folder = Folder(store, git, fetchers.lane(), clock, fresh_bytes, scratch, bytes_max=READ_BYTES_MAX)
    return OwnerFolding(upkeep, folder, fetchers.lane, cache)


def _store(settings: WorkerSettings) -> Store:
    hanging_max = settings.bounds.hanging_turns_max  # of turns, and of what they ask side by side
    connections_max = settings.concurrency + SharingBounds.fetches_max + 2 * hanging_max
    return open_store(
        settings.store_url, StoreOptions(connections_max=connections_max, spool_dir=settings.cache_dir)
    )


def _nothing(*_: object) -> None:
    """There is nothing to confirm, and nobody to tell."""
