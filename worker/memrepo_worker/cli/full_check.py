"""What ``memrepo doctor`` finds when it looks at everything that a worker's start looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memrepo.cli.ending import exit_code_of
from memrepo.errors import MemoryRepoError
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks import Check, NotFitError, checks, checks_of_cell
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.findings import Finding
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.status import live_workers, withdrawn_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings


def full_check(settings: WorkerSettings) -> Sequence[Finding]:
    """Run every check of a worker's start, also after one has failed; the store is tried out anew.

    Of several cells each is looked at, and what is said of one begins with its name.
    """
    first, *others = settings.of_each_cell()
    found = _full(first, checks(first, build_git(Counters(), settings.git_caps), anew=True))
    for each in others:
        found = [*found, *_full(each, checks_of_cell(each))]
    return found


def _full(settings: WorkerSettings, checks: Sequence[Check]) -> Sequence[Finding]:
    found = [_look(check) for check in checks]
    if all(each.ok for each in found if each.check == "broker"):
        found.append(_workers(settings))
    return [_of_cell(each, settings.cell) for each in found]


def _of_cell(found: Finding, cell: str) -> Finding:
    """Say which cell was looked at; git and the cache are the machine's."""
    return (
        replace(found, found=f"cell {cell}: {found.found}")
        if cell and found.check not in ("git", "cache")
        else found
    )


def _workers(settings: WorkerSettings) -> Finding:
    """Tell who serves the broker now; that nobody does is no fault of what a worker would find."""
    try:
        with reaching(settings.broker, "broker") as broker:
            names, withdrawn = live_workers(broker), withdrawn_workers(broker)
    except MemoryRepoError as error:
        return Finding("workers", error.message, exit_code_of(error))
    found = [", ".join(names) or "none serves this broker now: start one with `memrepo worker`"]
    found += [f"WARNING: {worker} cannot serve: {reason}" for worker, reason in withdrawn.items()]
    return Finding("workers", "; ".join(found))


def _look(check: Check) -> Finding:
    try:
        return Finding(check.name, check.run())
    except NotFitError as error:
        return Finding(check.name, str(error), exit_code_of(failure_of(error)))
