"""``memrepo doctor``: whether a worker could serve here, and what to mend if not; and how those that run are."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.exceptions import UsageError

from memrepo.cli.common import json_option
from memrepo.cli.ending import NOT_READY
from memrepo.cli.up_state import UpState, is_not_ready
from memrepo.settings import environment
from memrepo_worker.cli.findings import Finding, show
from memrepo_worker.cli.here import settings_here
from memrepo_worker.cli.probes import liveness, readiness
from memrepo_worker.settings import WorkerSettings


@click.command()
@click.option(
    "--quick", is_flag=True, help="Only whether the workers of this machine live: a liveness probe."
)
@click.option("--ready", is_flag=True, help="Only whether one of them serves, too: a readiness probe.")
@json_option
def doctor(quick: bool, ready: bool, as_json: bool) -> None:
    """Check Python, libraries, git, cache, broker and store as a worker does when it starts, and Flower's password.

    Each line says ok, warn (a worker serves all the same) or FAIL, and what to mend.

    In the folder of a running `memrepo up` it checks what that uses, where the environment says nothing else. If
    something will not do, the exit code is that of the first such finding: 5 for a broker or store that cannot be
    used, 2 for a setting, else 1.

    With --quick or --ready it looks at the workers that run with this MEMREPO_CACHE_DIR instead, and at no store.
    --quick says ok through an outage of the broker, --ready does not.
    """
    if quick and ready:
        raise UsageError("--ready looks at what --quick does, and at more: give one of them.")
    settings, up = settings_here()
    if quick:
        show([liveness(settings)], as_json=as_json)
    elif ready:
        show(readiness(settings), as_json=as_json)
    else:
        show([_settings(up), *_full(settings)], as_json=as_json)


def _settings(up: UpState | None) -> Finding:
    if up is None and is_not_ready(environment()):
        return Finding("settings", f"of the environment: {NOT_READY}", warns=True)
    return Finding("settings", f"of {up or 'the environment'}")


def _full(settings: WorkerSettings) -> Sequence[Finding]:
    # A probe does without git and stores: nothing of theirs is imported for it.
    from memrepo_worker.cli.full_check import full_check  # noqa: PLC0415

    return full_check(settings)
