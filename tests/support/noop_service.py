"""A service that does nothing, after a while: what is left is the cost of the queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from memrepo_worker.group import Group, Outcome, Success


@dataclass(frozen=True)
class NoopService:
    """Answers each request with the same sha, ``delay_s`` after its group began."""

    delay_s: float

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group."""
        if self.delay_s:
            time.sleep(self.delay_s)
        return [Success("0" * 40)] * len(group.requests)


def noop_service(argument: Any) -> NoopService:
    """Build it; ``argument`` is the delay in seconds."""
    return NoopService(argument or 0.0)
