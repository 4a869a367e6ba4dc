"""``memrepo doctor``: whether a worker could serve here, and what to mend if not."""

from __future__ import annotations

from dataclasses import dataclass

import click
from click.exceptions import Exit

from memrepo.cli.common import json_option
from memrepo.cli.ending import exit_code_of, plain
from memrepo.cli.output import show_json
from memrepo_worker.assembly import build_git
from memrepo_worker.cli.checks import Check, NotFitError, checks
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.here import settings_here
from memrepo_worker.observe import Counters


@dataclass(frozen=True)
class Finding:
    """What became of one check; ``exit_code`` stands for what is wrong, 0 for nothing."""

    check: str
    found: str
    exit_code: int = 0

    @property
    def ok(self) -> bool:
        """Whether a worker can serve like that."""
        return self.exit_code == 0


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check git, cache, broker and store as a worker does when it starts.

    In the folder of a running `memrepo up` it checks what that uses, where the environment says nothing else. If
    something will not do, the exit code is that of the first such finding: 5 for a broker or store that cannot be
    used, 2 for a setting, else 1.
    """
    settings, up = settings_here()
    tried = checks(settings, build_git(Counters(), settings.git_caps), anew=True)
    findings = [Finding("settings", f"of {up or 'the environment'}"), *map(_look, tried)]
    if as_json:
        show_json([{"check": each.check, "ok": each.ok, "found": each.found} for each in findings])
    else:
        for each in findings:
            mark = click.style("ok  ", fg="green") if each.ok else click.style("FAIL", fg="red")
            click.echo(f"{mark}  {each.check:8} {plain(each.found)}")
    raise Exit(next((each.exit_code for each in findings if not each.ok), 0))


def _look(check: Check) -> Finding:
    try:
        return Finding(check.name, check.run())
    except NotFitError as error:
        return Finding(check.name, str(error), exit_code_of(failure_of(error)))
