"""What goes wrong in the worker's commands, as the errors of the API: each ends in one line and an exit code."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from memrepo.cli.ending import MachineError
from memrepo.errors import (
    InvalidRequestError,
    MemoryDamagedError,
    MemoryRepoError,
    StoreUnavailableError,
    WorkerOutdatedError,
)
from memrepo_worker.cli.checks.check import NotFitError
from memrepo_worker.git.command import GitError, GitTroubleError
from memrepo_worker.journal.entry import JournalUnreadableError, NewerJournalError
from memrepo_worker.migration.legacy import LegacyLayoutError
from memrepo_worker.repos.slots import CacheUnusableError
from memrepo_worker.store.interface import StoreError
from memrepo_worker.store.open import StoreUrlError

Failure = (
    NotFitError,
    GitError,
    JournalUnreadableError,
    LegacyLayoutError,
    CacheUnusableError,
    StoreError,
)
"""What the worker's parts raise where a command has to end."""


@contextmanager
def translating_failures() -> Iterator[None]:
    """Turn what the worker's parts raise into what a command ends with."""
    try:
        yield
    except Failure as error:
        raise failure_of(error) from error


def failure_of(error: BaseException) -> MemoryRepoError:
    """Return what a command ends with because of an error; the kind is its cause's where it only passes that on."""
    told = " ".join(str(error).split())  # git's own words may take several lines
    if isinstance(error, NewerJournalError):
        told += ": a newer memrepo wrote it, upgrade this one"
    return _kind_of(error)(told)


def kind_of_all(kinds: Collection[type[MemoryRepoError]]) -> type[MemoryRepoError]:
    """Return what a command ends with that went on after several failures: their kind, where it is one."""
    return next(iter(kinds)) if len(kinds) == 1 else MemoryRepoError


def _kind_of(error: BaseException) -> type[MemoryRepoError]:
    if isinstance(error, NotFitError) and error.__cause__ is not None:
        return MachineError if isinstance(error.__cause__, GitError) else _kind_of(error.__cause__)
    if isinstance(error, MemoryRepoError):
        return type(error)
    if isinstance(error, (GitTroubleError, CacheUnusableError, OSError)):
        return MachineError
    if isinstance(error, JournalUnreadableError):
        return WorkerOutdatedError if isinstance(error, NewerJournalError) else MemoryDamagedError
    if isinstance(error, StoreUrlError):
        return InvalidRequestError
    if isinstance(error, StoreError) and not isinstance(error.__cause__, ModuleNotFoundError):
        return StoreUnavailableError
    return MemoryRepoError
