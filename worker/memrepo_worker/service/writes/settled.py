"""What a write that succeeds leaves for its ledger line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from memrepo.errors import MemoryRepoError


class Settled(NamedTuple):
    """The verdict, the commit that it is about, and what no commit shows later."""

    verdict: str
    sha: str
    detail: Mapping[str, Any] = {}


class NotSettledError(Exception):
    """A request can be told ``outcome``, and nothing else becomes of it: once that was mended, its id may run again."""

    def __init__(self, outcome: MemoryRepoError) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome
