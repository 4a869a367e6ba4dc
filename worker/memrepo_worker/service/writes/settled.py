"""What a write that succeeds leaves for its ledger line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Settled(NamedTuple):
    """The verdict, the commit that it is about, and what no commit shows later."""

    verdict: str
    sha: str
    detail: Mapping[str, Any] = {}
