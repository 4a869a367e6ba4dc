"""What ``memrepo doctor`` finds when it looks at everything that a worker's start looks at."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.cli.ending import exit_code_of
from memrepo.errors import MemoryRepoError
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks import Check, NotFitError, checks
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.findings import Finding
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.status import live_workers, withdrawn_workers
from memrepo_worker.queues.reach import reaching
from memrepo_worker.settings import WorkerSettings


def full_check(settings: WorkerSettings) -> Sequence[Finding]:
    """Run every check of a worker's start, also after one has failed; the store is tried out anew."""
    found = [_look(check) for check in checks(settings, build_git(Counters(), settings.git_caps), anew=True)]
    broker_serves = all(each.ok for each in found if each.check == "broker")
    return [*found, _workers(settings)] if broker_serves else found


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
