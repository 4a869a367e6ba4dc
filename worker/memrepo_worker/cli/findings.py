"""What became of one check, and how all of them are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from click.exceptions import Exit

from memrepo.cli.ending import plain
from memrepo.cli.output import show_json

_MARKS = {
    "ok": click.style("ok  ", fg="green"),
    "warning": click.style("warn", fg="yellow"),
    "failure": click.style("FAIL", fg="red"),
}


@dataclass(frozen=True)
class Finding:
    """What became of one check; ``exit_code`` stands for what is wrong, 0 for nothing that keeps a worker from serving.

    ``warns``: it serves all the same, and ``found`` says what to mend.
    """

    check: str
    found: str
    exit_code: int = 0
    warns: bool = False

    @property
    def ok(self) -> bool:
        """Whether a worker can serve like that."""
        return self.exit_code == 0

    @property
    def level(self) -> str:
        """``ok``, ``warning`` or ``failure``."""
        if not self.ok:
            return "failure"
        return "warning" if self.warns else "ok"


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings, and end with the exit code of the first that is not well."""
    if as_json:
        show_json(
            [
                {"check": each.check, "ok": each.ok, "level": each.level, "found": each.found}
                for each in findings
            ]
        )
    else:
        for each in findings:
            click.echo(f"{_MARKS[each.level]}  {each.check:8} {plain(each.found)}")
    raise Exit(next((each.exit_code for each in findings if not each.ok), 0))
