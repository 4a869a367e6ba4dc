"""The code that the documents show, and where in them it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DESIGN = sorted(ROOT.glob("docs/design/*.md"))
"""Decisions, a page each."""

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *DESIGN]


@dataclass(frozen=True)
class Block:
    """A block of code; ``line`` is that of its first line in the document, counted from 1."""

    document: Path
    line: int
    code: str

    @property
    def padded(self) -> str:
        """The code with empty lines before it, so that its lines have the document's numbers."""
        return "\n" * (self.line - 1) + self.code


def blocks(document: Path, *languages: str) -> list[Block]:
    """Return a document's blocks of these languages, in order; ``""`` stands for blocks that name none."""
    text = document.read_text()
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(document, text.count("\n", 0, match.start(2)) + 1, match[2])
        for match in found
        if match[1] in languages
    ]


def as_module(document: Path) -> str:
    """Return all of a document's Python, each line at its place."""
    lines = [""] * len(document.read_text().splitlines())
    for block in blocks(document, "python"):
        shown = block.code.splitlines()
        lines[block.line - 1 : block.line - 1 + len(shown)] = shown
    return "\n".join(lines) + "\n"
