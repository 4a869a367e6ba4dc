"""What ``memrepo doctor`` finds when it looks at everything that a worker's start looks at."""

from __future__ import annotations

from collections.abc import Sequence

from memrepo.cli.ending import exit_code_of
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks import Check, NotFitError, checks
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.findings import Finding
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings


def full_check(settings: WorkerSettings) -> Sequence[Finding]:
    """Run every check of a worker's start, also after one has failed; the store is tried out anew."""
    return [_look(check) for check in checks(settings, build_git(Counters(), settings.git_caps), anew=True)]


def _look(check: Check) -> Finding:
    try:
        return Finding(check.name, check.run())
    except NotFitError as error:
        return Finding(check.name, str(error), exit_code_of(failure_of(error)))
