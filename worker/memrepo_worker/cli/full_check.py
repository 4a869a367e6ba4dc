"""What ``memrepo doctor`` finds when it looks at everything that a worker's start looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memrepo.cli.ending import exit_code_of
from memrepo.errors import BrokerUnavailableError, MemoryRepoError, StoreUnavailableError
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks.broker import Clocks
from memrepo_worker.cli.checks.check import Check, NotFitError
from memrepo_worker.cli.checks.machine import Machine
from memrepo_worker.cli.checks.table import all_checks, checks_of_cell
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.findings import Finding
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.status import live_workers, withdrawn_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings

MACHINE, CLOCKS = Machine(), Clocks()

_HINTS = {
    "broker": " MEMREPO_BROKER_URL names it.",
    "results": " MEMREPO_RESULT_URL names it.",
    "store": " MEMREPO_STORE_URL names it.",
}
"""What to look at where a server cannot be used, whatever else is said of it."""
_HINT_OF_BUCKET = " MEMREPO_STORE_URL names it, its endpoint_url and prefix."
"""Likewise of a store that is no folder."""
_HINT_OF_CELL = " MEMREPO_CELLS names it."
"""Likewise of the Redis of a cell, which no other setting names."""

_OF_CELL = ("broker", "results", "store", "workers")


def full_check(settings: WorkerSettings) -> Sequence[Finding]:
    """Run every check, also after one has failed; the store is tried out anew.

    Of several cells each is looked at, and what is said of one begins with its name.
    """
    first, *others = settings.of_each_cell()
    found = _full(first, all_checks(first, build_git(Counters(), settings.git_caps), MACHINE, CLOCKS))
    for each in others:
        found = [*found, *_full(each, checks_of_cell(each, CLOCKS))]
    return found


def _full(settings: WorkerSettings, checks: Sequence[Check]) -> Sequence[Finding]:
    found = [one for check in checks for one in _look(check, settings)]
    if all(each.ok for each in found if each.check == "broker"):
        found += _workers(settings)
    return [_of_cell(each, settings.cell) for each in found]


def _of_cell(found: Finding, cell: str) -> Finding:
    """Say which cell was looked at, where it is not this machine."""
    return replace(found, found=f"cell {cell}: {found.found}") if cell and found.check in _OF_CELL else found


def _workers(settings: WorkerSettings) -> Sequence[Finding]:
    """Tell who serves the broker now; that nobody does is no fault of what a worker would find."""
    try:
        with reaching(settings.broker, "broker") as broker:
            names, withdrawn = live_workers(broker), withdrawn_workers(broker)
    except MemoryRepoError as error:
        return [Finding("workers", error.message, exit_code_of(error))]
    found = Finding(
        "workers", ", ".join(names) or "none serves this broker now: start one with `memrepo worker`"
    )
    return [
        found,
        *(
            Finding("workers", f"{worker} cannot serve: {reason}", warns=True)
            for worker, reason in withdrawn.items()
        ),
    ]


def _hint_of(check: str, settings: WorkerSettings) -> str:
    if check == "store" and not settings.store_url.startswith("file:"):
        return _HINT_OF_BUCKET
    if check in ("broker", "results") and settings.cell:
        return _HINT_OF_CELL
    return _HINTS.get(check, "")


def _look(check: Check, settings: WorkerSettings) -> Sequence[Finding]:
    try:
        found = check.run()
    except NotFitError as error:
        failure = failure_of(error)
        is_away = isinstance(failure, (BrokerUnavailableError, StoreUnavailableError))
        hint = _hint_of(check.name, settings) if is_away else ""
        end = "." if hint and not str(error).endswith(".") else ""
        return [Finding(check.name, f"{error}{end}{hint}", exit_code_of(failure))]
    warnings = (Finding(check.name, warning, warns=True) for warning in found.warnings)
    return [Finding(check.name, found.text), *warnings]
