"""What a search looks for, and where it is in a text: in time that grows with the text alone, whatever is asked for.

Regular expressions are RE2's: there are none that go back and try again. The slowest take a step for each of their
instructions at each byte, measured as some 10 ns; so both are bounded, and the text is given to RE2 in pieces. Python's
lock is free meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import re2

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import KIB, MIB

_INSTRUCTIONS_MAX = 2_500
_MEMORY_BYTES_MAX = MIB
_STEPS_MAX = 16_000_000
_BY_LINE = "(?m)"  # ^ and $ are the ends of lines
_LINE_BYTES_MAX = 64 * KIB
"""Of a line that is longer, and longer than a piece, a regular expression sees so much; docs/api.md says it."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line in a text: its number, from 1, where it begins, and where it ends, its line break left out."""

    number: int
    start: int
    end: int


class Pattern(Protocol):
    """Finds what a search looks for."""

    def find(self, data: bytes, start: int, end: int) -> int | None:
        """Return where in a range it is first; what follows on the range is seen, and no part of what is found."""
        ...

    @property
    def piece_bytes(self) -> int:
        """How large a range may be, so that it takes a moment."""
        ...

    @property
    def line_bytes_max(self) -> int | None:
        """How much is seen of a line; None: all of it."""
        ...


class Literal:
    """A text as it is."""

    piece_bytes = 4 * MIB
    line_bytes_max = None

    def __init__(self, text: bytes) -> None:
        self._text = text

    def find(self, data: bytes, start: int, end: int) -> int | None:
        """Return where it is first in a range."""
        found = data.find(self._text, start, end)
        return None if found < 0 else found


class Regex:
    """A regular expression, or a text whose case does not matter. It is found within a line."""

    line_bytes_max = _LINE_BYTES_MAX

    def __init__(self, text: str, *, literal: bool, ignore_case: bool) -> None:
        """Compile it.

        Raises:
            InvalidRequestError: it is none.
            TooLargeError: it would take too long to look for.
        """
        options = re2.Options()
        options.max_mem = _MEMORY_BYTES_MAX
        options.log_errors = False
        options.literal = literal
        options.case_sensitive = not ignore_case
        options.never_nl = options.never_capture = True
        try:
            self._regex = re2.compile(text if literal else f"{_BY_LINE}{text}", options)
        except re2.error as error:
            said = error.args[0]
            words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            raise InvalidRequestError.of(
                "text", f"is no regular expression that RE2 knows: {words.replace(f'{_BY_LINE}{text}', text)}"
            ) from error
        finally:
            re2.purge()  # it would keep the last 128 of them
        instructions = self._regex.programsize
        if instructions > _INSTRUCTIONS_MAX:
            raise TooLargeError.of(
                "text",
                f"takes {instructions} instructions as a regular expression, over the {_INSTRUCTIONS_MAX} that one "
                "may: repeat less, and write classes of fewer characters",
            )
        self.piece_bytes = max(1, _STEPS_MAX // instructions)

    def find(self, data: bytes, start: int, end: int) -> int | None:
        """Return where it is first in a range."""
        found = self._regex.search(data, start, end)
        return None if found is None else found.start()


def pattern_of(text: str, *, regex: bool, ignore_case: bool) -> Pattern:
    """Return what finds a text, or a regular expression; raises what ``Regex`` does."""
    if not regex and not ignore_case:
        return Literal(text.encode())
    return Regex(text, literal=not regex, ignore_case=ignore_case)


def lines_with(pattern: Pattern, data: bytes, step: Callable[[], None]) -> Iterator[Line]:
    """Yield the lines of a text that have the pattern in them, in order; ``step`` is called before each piece.

    Lines end with a line feed, as git's do: there is none behind the last one.
    """
    number, counted = 1, 0
    for start, end in _pieces(pattern, data):
        at = start
        step()
        while at <= end:
            found = pattern.find(data, at, end)
            if found is None:
                break
            begins = data.rfind(b"\n", 0, found) + 1
            number += data.count(b"\n", counted, begins)
            counted = begins
            ends = _end_of_line(data, found)
            yield Line(number, begins, ends)
            at = ends + 1


def _pieces(pattern: Pattern, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield ranges of whole lines, the last line break of each left out; of a line that is too long, its beginning."""
    start = 0
    while start < len(data):
        end = data.rfind(b"\n", start, start + pattern.piece_bytes)
        if len(data) - start <= pattern.piece_bytes:
            end = len(data) - data.endswith(b"\n")
        if end < 0:  # one line is longer than a piece
            end = _end_of_line(data, start)
        seen = end
        if pattern.line_bytes_max is not None and end - start > pattern.piece_bytes:
            seen = min(end, start + max(pattern.line_bytes_max, pattern.piece_bytes))
        yield start, seen
        start = end + 1


def _end_of_line(data: bytes, start: int) -> int:
    end = data.find(b"\n", start)
    return len(data) if end < 0 else end
