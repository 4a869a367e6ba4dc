"""One look at what a worker needs, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class NotFitError(Exception):
    """A worker cannot serve like this; the message is one line that says what to mend."""


@dataclass(frozen=True)
class Found:
    """What is there, and of each thing about it that does not keep a worker from serving what to mend."""

    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One thing that must hold. ``run`` returns what it found, or raises ``NotFitError``."""

    name: str
    run: Callable[[], Found]
