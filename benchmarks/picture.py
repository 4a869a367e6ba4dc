"""The picture of a run: for each figure with a bound, how much of what is allowed it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.figures import Figure

WIDTH = 1120
LEFT, RIGHT = 490, 850
"""Where the bars begin, and where an axis of 0 to ``SHARE_MAX`` ends; names stand before, values behind."""

TOP, STEP, BAR = 84, 30, 16
SHARE_MAX = 2.0
INK, FAINT, MET, MISSED = "#1f2328", "#6e7781", "#2f7d6b", "#c4532d"
FONT = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def draw(figures: Sequence[Figure], caption: str) -> str:
    """Return an SVG."""
    shown = [figure for figure in figures if figure.bound is not None]
    height = TOP + STEP * len(shown) + 34
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {_size(height)} {FONT} font-size='13'>",
            f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
            _text(20, 30, "memrepo: what was measured against what must be reached", size=17, bold=True),
            _text(
                20, 52, "Shorter is better; a bar that does not cross the line has reached its target.", FAINT
            ),
            *(line for place, figure in enumerate(shown) for line in _row(TOP + STEP * place, figure)),
            *_target(height - 34),
            _text(20, height - 12, caption, FAINT, size=11),
            "</svg>\n",
        ]
    )


def _size(height: int) -> str:
    return f"viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'"


def _row(y: int, figure: Figure) -> Iterator[str]:
    assert figure.bound is not None
    share = figure.bound.share(figure.value)
    middle = y + BAR - 3
    yield _text(LEFT - 10, middle, figure.name, anchor="end")
    yield (
        f"<rect x='{LEFT}' y='{y}' width='{_length(share):.1f}' height='{BAR}' rx='2' "
        f"fill='{MET if figure.met else MISSED}'/>"
    )
    if share > SHARE_MAX:
        yield _text(
            RIGHT - 6, middle, "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", "#ffffff", anchor="end"
        )
    sign = "\N{LESS-THAN OR EQUAL TO}" if figure.bound.relation == "<=" else "\N{GREATER-THAN OR EQUAL TO}"
    mark = "" if figure.met else "\N{MULTIPLICATION X} "
    said = f"{mark}{figure.measured} (must be {sign} {figure.bound.value:g})"
    yield _text(RIGHT + 10, middle, said, INK if figure.met else MISSED, bold=not figure.met)


def _target(bottom: int) -> Iterator[str]:
    """Draw the line at which targets are reached."""
    x = LEFT + _length(1.0)
    yield f"<line x1='{x}' y1='{TOP - 8}' x2='{x}' y2='{bottom}' stroke='{INK}' stroke-width='1.5'/>"
    yield _text(x, TOP - 13, "target", anchor="middle", size=11)


def _length(share: float) -> float:
    return min(share, SHARE_MAX) / SHARE_MAX * (RIGHT - LEFT)


def _text(
    x: float,
    y: float,
    words: str,
    fill: str = INK,
    *,
    anchor: str = "start",
    size: int = 13,
    bold: bool = False,
) -> str:
    weight = " font-weight='600'" if bold else ""
    return (
        f"<text x='{x:g}' y='{y:g}' fill='{fill}' text-anchor='{anchor}' font-size='{size}'{weight}>"
        f"{escape(words)}</text>"
    )
