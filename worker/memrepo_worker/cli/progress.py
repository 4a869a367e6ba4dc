"""How far a command is that goes through many things: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import shutil
import sys

import click

from memrepo.cli.ending import plain
from memrepo.clock import Clock, steady_clock
from memrepo_worker.group import Agent

LINE_EVERY_S = 30.0
_BAR_EVERY_S = 0.1
_BAR_COLUMNS = 30


class Progress:
    """Tells on standard error how many are done, ``kind`` of things; a run that is soon over tells nothing there."""

    def __init__(
        self,
        doing: str,
        total: int,
        kind: str = "memories",
        *,
        is_terminal: bool | None = None,
        clock: Clock = steady_clock,
    ) -> None:
        self.is_terminal = sys.stderr.isatty() if is_terminal is None else is_terminal
        self._doing = doing
        self.total = total
        self._kind = kind
        self._clock = clock
        self._done = 0
        self._shown = 0
        self._told_s = clock()

    def step(self, agent: Agent | None = None) -> None:
        """Note that one more is done, and of whom."""
        self._done += 1
        if self._clock() - self._told_s < (_BAR_EVERY_S if self.is_terminal else LINE_EVERY_S):
            return
        self._told_s = self._clock()
        count = f"{self._done:,} of {max(self.total, self._done):,} {self._kind}"
        if not self.is_terminal:
            last = "" if agent is None else f", the last was {agent}"
            click.echo(plain(f"{self._doing}: {count}{last}"), err=True)
            return
        filled = _BAR_COLUMNS * self._done // max(self.total, self._done)
        bar = "#" * filled + "-" * (_BAR_COLUMNS - filled)
        last = "" if agent is None else f", {agent}"
        text = plain(f"{self._doing} [{bar}] {count}{last}")[: shutil.get_terminal_size().columns - 1]
        click.echo("\r" + text.ljust(self._shown), err=True, nl=False)
        self._shown = len(text)

    def clear(self) -> None:
        """Take the bar away, before something else is printed."""
        if self._shown:
            click.echo("\r" + " " * self._shown + "\r", err=True, nl=False)
            self._shown = 0
