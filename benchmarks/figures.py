"""What a benchmark finds: figures, each with what it must reach."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

_LEAST = 1e-9

Parts = Mapping[str, float]
"""The measurements that a figure was made from, by name with unit."""


@dataclass(frozen=True)
class Bound:
    """What a figure must reach."""

    relation: Literal["<=", ">="]
    value: float

    def share(self, value: float) -> float:
        """Return how much of what is allowed a value takes: up to 1 it is within the bound."""
        upper, lower = (value, self.value) if self.relation == "<=" else (self.value, value)
        return upper / max(lower, _LEAST)

    def __str__(self) -> str:
        return f"{self.relation} {self.value:g}"


def at_most(value: float) -> Bound:
    """Return an upper bound."""
    return Bound("<=", value)


def at_least(value: float) -> Bound:
    """Return a lower bound."""
    return Bound(">=", value)


@dataclass(frozen=True)
class Figure:
    """One line of the report. Without a bound it is there for orientation."""

    name: str
    value: float
    unit: str = ""
    bound: Bound | None = None
    parts: Parts = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether it is within its bound; None where there is none."""
        return None if self.bound is None else self.bound.share(self.value) <= 1

    @property
    def measured(self) -> str:
        """The value for people."""
        return f"{short(self.value)} {self.unit}".strip()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "name": self.name,
            "value": float(short(self.value)),
            "unit": self.unit,
            "must_reach": None if self.bound is None else str(self.bound),
            "met": self.met,
            "parts": {name: float(short(value)) for name, value in self.parts.items()},
        }


def ratio(
    name: str,
    measured: Sequence[float],
    bare: Sequence[float],
    bound: Bound,
    *,
    of: tuple[str, str],
    parts: Parts | None = None,
) -> Figure:
    """Return the ratio of two medians of seconds; ``of`` names the two."""
    times = {
        f"{label} {what} ms": value * 1e3
        for label, seconds in zip(of, (measured, bare), strict=True)
        for what, value in (("p50", p50(seconds)), ("p95", p95(seconds)))
    }
    return Figure(name, p50(measured) / p50(bare), "x", bound, {**times, **(parts or {})})


def p50(times: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(times)


def p95(times: Sequence[float]) -> float:
    """Return the value that 95 % do not exceed."""
    return sorted(times)[-(-len(times) * 95 // 100) - 1]


def short(value: float) -> str:
    """Write a number with three digits that count."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
