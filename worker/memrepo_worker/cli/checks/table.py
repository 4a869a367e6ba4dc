"""The checks, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.errors import BrokerUnavailableError
from memrepo_worker.cli.checks.broker import Clocks, check_broker, check_results
from memrepo_worker.cli.checks.check import Check, Found, NotFitError
from memrepo_worker.cli.checks.flower import check_flower
from memrepo_worker.cli.checks.machine import Machine, check_cache, check_git, check_libraries, check_python
from memrepo_worker.cli.checks.store import check_identity, check_whole_store
from memrepo_worker.git.command import Git
from memrepo_worker.settings import WorkerSettings


def checks(
    settings: WorkerSettings, git: Git, machine: Machine, clocks: Clocks | None = None, *, anew: bool
) -> Sequence[Check]:
    """Return what a worker's start looks at, the quickest first.

    ``anew`` tries the store out even if it was found safe today.
    """
    apart = settings.results != settings.broker
    silent = []

    def check_broker_first() -> Found:
        try:
            return check_broker(settings, clocks)
        except NotFitError as error:
            silent.extend([True] * isinstance(error.__cause__, BrokerUnavailableError))
            raise

    return (
        Check("git", lambda: check_git(git)),
        Check("cache", lambda: check_cache(settings, machine)),
        Check("broker", check_broker_first),
        *([Check("results", lambda: check_results(settings, clocks))] if apart else []),
        # A broker that is silent has cost its seconds already.
        Check("store", lambda: check_whole_store(settings, anew=anew, ask_broker=not silent)),
    )


def all_checks(
    settings: WorkerSettings, git: Git, machine: Machine, clocks: Clocks | None = None
) -> Sequence[Check]:
    """Return all that ``memrepo doctor`` looks at."""
    return (
        Check("python", lambda: check_python(machine)),
        Check("packages", lambda: check_libraries(machine)),
        *checks(settings, git, machine, clocks, anew=True),
        Check("flower", lambda: check_flower(settings)),
    )


def checks_of_cell(settings: WorkerSettings, clocks: Clocks) -> Sequence[Check]:
    """Return the checks of another cell, whose workers have their machines and the store in common with the first's."""
    apart = settings.results != settings.broker
    return (
        Check("broker", lambda: check_broker(settings, clocks)),
        *([Check("results", lambda: check_results(settings, clocks))] if apart else []),
        Check("store", lambda: Found(f"identity {check_identity(settings)}")),
    )


def require(settings: WorkerSettings, git: Git) -> None:
    """Make a start's checks; raises ``NotFitError`` at the first that fails."""
    for check in checks(settings, git, Machine(), anew=False):
        check.run()
