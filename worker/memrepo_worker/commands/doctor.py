"""``memrepo doctor``: whether a worker could serve here, and what to mend if not."""

from __future__ import annotations

import json

import click

from memrepo_worker.assembly import build_git
from memrepo_worker.commands.checks import Check, NotFitError, checks
from memrepo_worker.observe import Counters
from memrepo_worker.settings import WorkerSettings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Check git, cache, broker and store as a worker does when it starts; exits with 1 if one will not do."""
    findings = [_look(check) for check in checks(WorkerSettings.from_env(), build_git(Counters()), anew=True)]
    if as_json:
        click.echo(json.dumps([{"check": name, "ok": ok, "found": found} for name, ok, found in findings]))
    else:
        for name, ok, found in findings:
            click.echo(
                f"{click.style('ok  ', fg='green') if ok else click.style('FAIL', fg='red')}  {name:7} {found}"
            )
    if not all(ok for _, ok, _ in findings):
        raise SystemExit(1)


def _look(check: Check) -> tuple[str, bool, str]:
    try:
        return check.name, True, check.run()
    except NotFitError as error:
        return check.name, False, str(error)
