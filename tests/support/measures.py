"""What can be counted of the packages' own code: rooms, lines, suppressions, docstrings."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"producer": ROOT / "producer", "worker": ROOT / "worker"}

FILES_IN_A_ROOM_MAX = 14
MODULE_LINES_MAX = 400
MODULE_LINES_MEDIAN = (60, 150)
FUNCTION_LINES_MAX = 60
FUNCTION_LINES_MEDIAN_MAX = 9
SUPPRESSIONS_MAX = 5.0
"""Per 1,000 lines."""

_SUPPRESSION = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore|mypy:|nosec|pragma:)")
_REASON = re.compile(r"(?:noqa: [A-Z0-9, ]+ - |type: ignore\[[a-z, -]+\]\s*# )\S")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Measures:
    """One package, counted. Places are ``path`` or ``path:line``, below the checkout."""

    rooms: Mapping[str, int]
    """How many files each folder has, ``__init__.py`` apart."""
    modules: Mapping[str, int]
    """How many lines each module has; ``__init__.py`` of one line apart, which says only what a folder is."""
    functions: Mapping[str, int]
    """How many lines each function and method has."""
    lines: int
    suppressions: Sequence[str]
    without_reason: Sequence[str] = field(default=())
    """The suppressions that say their reason neither in their line nor in the one above."""
    undocumented: Sequence[str] = field(default=())
    """Public modules, classes, functions and methods without a docstring; what overrides has its base's."""

    @property
    def suppressions_per_1000_lines(self) -> float:
        """How often a checker is told to look away."""
        return 1000 * len(self.suppressions) / self.lines


def measure(folder: Path) -> Measures:
    """Count all Python files below a folder."""
    texts = {_name(path): path.read_text() for path in sorted(folder.rglob("*.py"))}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    rooms: dict[str, int] = {}
    for name in texts:
        room = name.rpartition("/")[0]
        rooms[room] = rooms.get(room, 0) + (not name.endswith("/__init__.py"))
    found = [
        (f"{name}:{number}", comment, above)
        for name, text in texts.items()
        for number, comment, above in suppressions_in(text)
    ]
    lines = {name: len(text.splitlines()) for name, text in texts.items()}
    return Measures(
        rooms=rooms,
        modules={
            name: count for name, count in lines.items() if count > 1 or not name.endswith("__init__.py")
        },
        functions={place: count for name, tree in trees.items() for place, count in _functions(name, tree)},
        lines=sum(lines.values()),
        suppressions=[place for place, _, _ in found],
        without_reason=[place for place, comment, above in found if not _has_reason(comment, above)],
        undocumented=[place for name, tree in trees.items() for place in undocumented_in(name, tree)],
    )


def suppressions_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each comment that tells a checker to look away: its line's number, itself, and the line above it."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and _SUPPRESSION.search(token.string):
            number = token.start[0]
            yield number, token.string, lines[number - 2] if number > 1 else ""


def _has_reason(comment: str, above: str) -> bool:
    above = above.strip()
    return bool(_REASON.search(comment)) or (above.startswith("#") and not _SUPPRESSION.search(above))


def undocumented_in(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield the places of public names without a docstring."""
    if ast.get_docstring(tree) is None:
        yield name
    yield from _undocumented(name, tree.body)


def _undocumented(name: str, body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _undocumented(name, [*node.body, *node.orelse])
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not _has_its_bases(node):
            yield f"{name}:{node.lineno}"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(name, node.body)


def _has_its_bases(node: Function | ast.ClassDef) -> bool:
    """Whether the docstring is elsewhere: at what is overridden, or below the overloads."""
    return any(ast.unparse(decorator) in ("override", "overload") for decorator in node.decorator_list)


def _functions(name: str, tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield f"{name}:{node.lineno}", (node.end_lineno or node.lineno) - node.lineno + 1


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def table(measured: Mapping[str, Measures]) -> str:
    """Write the measures, with their bounds, for people."""
    rows = [("", *measured, "bound")]

    def row(what: str, bound: str, *values: object) -> None:
        rows.append((what, *map(str, values), bound))

    every = list(measured.values())
    row("files, most in a room", f"<= {FILES_IN_A_ROOM_MAX}", *(max(each.rooms.values()) for each in every))
    row("module lines, most", f"<= {MODULE_LINES_MAX}", *(max(each.modules.values()) for each in every))
    medians = [statistics.median(each.modules.values()) for each in every]
    row("module lines, median", "{} to {}".format(*MODULE_LINES_MEDIAN), *map("{:g}".format, medians))
    row("function lines, most", f"<= {FUNCTION_LINES_MAX}", *(max(each.functions.values()) for each in every))
    medians = [statistics.median(each.functions.values()) for each in every]
    row("function lines, median", f"<= {FUNCTION_LINES_MEDIAN_MAX}", *map("{:g}".format, medians))
    rates = [f"{each.suppressions_per_1000_lines:.1f}" for each in every]
    row("suppressions in 1,000 lines", f"<= {SUPPRESSIONS_MAX:g}", *rates)
    row("suppressions without a reason", "0", *(len(each.without_reason) for each in every))
    row("public names without docstring", "0", *(len(each.undocumented) for each in every))
    row("lines", "", *(each.lines for each in every))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in rows)
