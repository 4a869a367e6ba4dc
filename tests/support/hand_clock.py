"""A clock that is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class HandClock:
    """Says what it was told last."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s
