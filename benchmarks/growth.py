"""How a memory grows: a table and a plot of what was measured at each age, as docs/growth.md shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.figures import short
from benchmarks.picture import FAINT, FONT, INK

Amounts = Mapping[int, float]
"""Something that was measured, by age in commits."""

WIDTH, HEIGHT = 1020, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 700, 80, 350
_SIZE = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'"
COLORS = ("#2f7d6b", "#3b6ea8", "#8a5ab5", "#c4532d", "#9a7b1f", "#5c6670")


@dataclass(frozen=True)
class Growth:
    """What was measured in one run: ``times`` are medians in milliseconds, ``others`` are named with units."""

    times: Mapping[str, Amounts]
    others: Mapping[str, Amounts]

    @property
    def ages(self) -> Sequence[int]:
        """The ages, ascending."""
        return sorted(next(iter(self.times.values())))

    def write(self, folder: Path, name: str, caption: str) -> None:
        """Write the table and the plot into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(f"{caption}\n\n{table(self)}")
        (folder / f"{name}.svg").write_text(plot(self, caption))


def table(growth: Growth) -> str:
    """Return a Markdown table: a line for each amount, a column for each age, and the last against the first."""
    ages = growth.ages
    head = ["commits", *(f"{age:,}" for age in ages), f"{ages[-1]:,} / {ages[0]:,}"]
    lines = [_line(head), _line(["---", *("--:" for _ in head[1:])])]
    named = [
        *((f"{name} p50, ms", amounts) for name, amounts in growth.times.items()),
        *growth.others.items(),
    ]
    for name, amounts in named:
        last, first = amounts[ages[-1]], amounts[ages[0]]
        share = f"{last / first:.2f}" if name.endswith(" p50, ms") else ""
        lines.append(_line([name, *(short(amounts[age]) for age in ages), share]))
    return "\n".join(lines) + "\n"


def plot(growth: Growth, caption: str) -> str:
    """Return an SVG of the medians against the age, whose axis is logarithmic."""
    top_ms = max(max(amounts.values()) for amounts in growth.times.values()) * 1.1
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {_SIZE} {FONT} font-size='13'>",
            f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
            _text(20, 30, "Medians against the age of a memory of 200 files", size=17),
            _text(20, 52, caption, size=11, fill=FAINT),
            *_axes(growth.ages, top_ms),
            *_curves(growth, top_ms),
            "</svg>\n",
        ]
    )


def _axes(ages: Sequence[int], top_ms: float) -> Iterator[str]:
    step = 10 ** math.floor(math.log10(top_ms))
    step = step if top_ms / step >= 4 else step / 2
    for number in range(int(top_ms / step) + 1):
        y = _y(number * step, top_ms)
        yield f"<line x1='{LEFT}' y1='{y:.1f}' x2='{RIGHT}' y2='{y:.1f}' stroke='#d8dee4'/>"
        yield _text(LEFT - 8, y + 4, f"{number * step:g} ms", anchor="end", fill=FAINT)
    for age in ages:
        yield _text(_x(age, ages), BOTTOM + 22, f"{age:,}", anchor="middle")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 46, "commits", anchor="middle", fill=FAINT)


def _curves(growth: Growth, top_ms: float) -> Iterator[str]:
    ends = sorted((amounts[growth.ages[-1]], name) for name, amounts in growth.times.items())
    label_y = {name: _y(value, top_ms) for value, name in ends}
    below = math.inf
    for _, name in ends:  # names beside each other are drawn apart
        below = label_y[name] = min(label_y[name], below - 16)
    for color, (name, amounts) in zip(COLORS, growth.times.items(), strict=True):
        points = [(_x(age, growth.ages), _y(amounts[age], top_ms)) for age in growth.ages]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        yield f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
        yield from (f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{color}'/>" for x, y in points)
        yield _text(RIGHT + 12, label_y[name] + 4, name, fill=color)


def _x(age: int, ages: Sequence[int]) -> float:
    low, high = math.log10(ages[0]), math.log10(ages[-1])
    return LEFT + 24 + (math.log10(age) - low) / (high - low) * (RIGHT - LEFT - 48)


def _y(value_ms: float, top_ms: float) -> float:
    return BOTTOM - value_ms / top_ms * (BOTTOM - TOP)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, fill: str = INK) -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    return f"<text {place} font-size='{size}' fill='{fill}'>{escape(words)}</text>"
