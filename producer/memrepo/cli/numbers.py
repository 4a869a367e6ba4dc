"""Numbers on the command line: what is wrong with one is said in words, with what would be right."""

from __future__ import annotations

import threading
from typing import SupportsFloat, SupportsIndex, SupportsInt

import click
from typing_extensions import override


class Seconds(click.types.FloatParamType):
    """A duration: a number of 0 or more. Click's own takes nan, which no wait ends with."""

    name = "seconds"

    @override
    def convert(
        self, value: SupportsFloat | SupportsIndex, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1
        if not 0 <= seconds <= threading.TIMEOUT_MAX:
            self.fail(f"{str(value)!r} is not a number of seconds.", param, ctx)
        return seconds


class WholeNumber(click.types.IntParamType):
    """A whole number from ``least`` to ``most``, or without an upper end."""

    name = "integer"

    def __init__(self, least: int, most: int | None = None) -> None:
        self._least = least
        self._most = most

    @override
    def convert(
        self,
        value: str | SupportsInt | SupportsIndex,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        try:
            number = int(value)
        except ValueError:
            number = self._least - 1
        if number < self._least or (self._most is not None and number > self._most):
            self.fail(f"{str(value)!r} is not a whole number {self._range()}.", param, ctx)
        return number

    def _range(self) -> str:
        return f"of {self._least} or more" if self._most is None else f"from {self._least} to {self._most}"
