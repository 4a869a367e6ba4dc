"""Contents to commit: lines of words, as notes are; the same ones in every run."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

FILE_BYTES = 2000
SELDOM_CHANGES = 9

_WORDS = (
    "agent", "memory", "likes", "prefers", "tea", "coffee", "project", "deadline",
    "friday", "paris", "python", "writes", "reads", "never", "always", "today",
)  # fmt: skip


class Texts:
    """Makes one text after the other, each different."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)

    def text(self, size: int = FILE_BYTES) -> str:
        """Return a text of that many bytes."""
        lines: list[str] = []
        while sum(map(len, lines)) < size:
            words = " ".join(self._random.choices(_WORDS, k=10))
            lines.append(f"{words} {self._random.random()}\n")
        return "".join(lines)[:size]

    def line(self, size: int) -> str:
        """Return one line of that many bytes."""
        return self.text(size).replace("\n", " ")[:-1] + "\n"

    def files(self, number: int, size: int = FILE_BYTES) -> dict[str, str]:
        """Return that many files, ten to a folder."""
        return {path(index): self.text(size) for index in range(number)}

    def changes(self, *numbers: int) -> dict[str, str]:
        """Return new contents of these of the ``files``."""
        return {path(number): self.text() for number in numbers}

    def prepared(self, count: int, *numbers: int) -> Iterator[dict[str, str]]:
        """Return that many ``changes``, made now, so that making them is not measured."""
        return iter([self.changes(*numbers) for _ in range(count)])


def path(number: int) -> str:
    """Return the path of one of the ``files``."""
    return f"notes-{number // 10}/{number}.md"


def changed(number: int, commits: int, files: int) -> tuple[int, int]:
    """Return which files a commit changes, given by its number, in a memory of so many commits and files.

    The last of the files is changed by ``SELDOM_CHANGES`` of the newest commits whatever their number: of up to 1,000,
    and as far apart as there are commits.
    """
    seldom = files - 1
    is_its_turn = number % max(1, min(commits, 1_000) // (SELDOM_CHANGES + 1)) == 0
    return number % seldom, seldom if is_its_turn else (number * 7 + 1) % seldom
