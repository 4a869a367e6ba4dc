"""How results are told: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from textwrap import indent, wrap
from typing import Any

from benchmarks.figures import Figure, short

NAME_WIDTH = 72
_MET = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True)
class Machine:
    """What the figures were measured on; ``load`` is how many processes wanted a core before the run began."""

    cores: int
    load: float
    python: str
    system: str

    @classmethod
    def this(cls) -> Machine:
        """Describe this one, without names or paths."""
        system = f"{platform.system()} {platform.machine()}"
        return cls(os.cpu_count() or 1, os.getloadavg()[0], platform.python_version(), system)

    @property
    def is_busy(self) -> bool:
        """Whether others are likely to disturb what is measured."""
        return self.load > self.cores / 2

    def __str__(self) -> str:
        return f"{self.cores} cores, load {self.load:.1f} at the start, Python {self.python}, {self.system}"


Rows = Mapping[str, Sequence[Figure]]


def head() -> str:
    """Return the table's first lines."""
    return f"{'figure':{NAME_WIDTH}} {'measured':>10}  {'must reach':10}  met\n{'-' * (NAME_WIDTH + 29)}"


def lines(figure: Figure) -> str:
    """Return a figure's lines of the table."""
    bound = "" if figure.bound is None else str(figure.bound)
    first = f"{figure.name:{NAME_WIDTH}} {figure.measured:>10}  {bound:10}  {_MET[figure.met]}".rstrip()
    parts = ", ".join(f"{name} {short(value)}" for name, value in figure.parts.items())
    return "\n".join([first, *(indent(line, "    ") for line in wrap(parts, NAME_WIDTH + 24))])


def as_json(rows: Rows, machine: Machine, failed: Sequence[str]) -> str:
    """Return everything as JSON."""
    value: dict[str, Any] = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": str(machine),
        "rows": {row: [figure.as_json() for figure in figures] for row, figures in rows.items()},
        "failed": list(failed),
    }
    return json.dumps(value, indent=2) + "\n"
