"""``memrepo doctor``: whether a worker could serve here, and what to mend if not; and how those that run are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches

import click
from click.exceptions import UsageError

from memrepo.cli.common import json_option
from memrepo.cli.ending import NOT_READY
from memrepo.cli.up_state import UpState, is_not_ready
from memrepo.limits import Limits
from memrepo.settings import Settings, environment
from memrepo_worker.cli.findings import Finding, show
from memrepo_worker.cli.here import settings_here
from memrepo_worker.cli.probes import liveness, readiness
from memrepo_worker.settings import WorkerSettings

_OF_DEPLOYMENTS = frozenset({"MEMREPO_BROKER_PASSWORD", "MEMREPO_STORE_KEY", "MEMREPO_STORE_SECRET"})
"""What docker-compose.yml asks for, to make settings of."""

_OF_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_[0-9]+_(TCP|UDP|SCTP).*)?\Z")
"""How variables end that Kubernetes sets for each service in a namespace."""


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
        show([_settings(up), *_unknown(environment()), *_full(settings)], as_json=as_json)


def _settings(up: UpState | None) -> Finding:
    if up is None and is_not_ready(environment()):
        return Finding("settings", f"of the environment: {NOT_READY}", warns=True)
    return Finding("settings", f"of {up or 'the environment'}")


def _unknown(env: Mapping[str, str]) -> Sequence[Finding]:
    """Warn of variables that look like settings and are none: what they were to say goes unheard."""
    known = {
        f"MEMREPO_{item.name.upper()}" for kind in (Settings, WorkerSettings, Limits) for item in fields(kind)
    }
    others = (
        name for name in sorted(env) if name.startswith("MEMREPO_") and name not in known | _OF_DEPLOYMENTS
    )
    found = []
    for name in others:
        if not _OF_KUBERNETES.search(name):
            meant = get_close_matches(name, known, 1, 0.8)
            hint = f": {meant[0]} may be meant" if meant else ": `memrepo worker --show-settings` lists them"
            found.append(Finding("settings", f"{name} is no setting, and says nothing{hint}", warns=True))
    return found


def _full(settings: WorkerSettings) -> Sequence[Finding]:
    # A probe does without git and stores: nothing of theirs is imported for it.
    from memrepo_worker.cli.full_check import full_check  # noqa: PLC0415

    return full_check(settings)
