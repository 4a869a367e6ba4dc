"""A service that does nothing, after a while: what is left is the cost of the queue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memrepo.models import CommitResult
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.group import Group, Outcome, Success

SHA = "0" * 40
COMMIT = CommitResult(
    sha=SHA,
    parent_sha=None,
    message="Learn",
    author_type="agent",
    author_id=None,
    author_name="agent",
    author_email="agent@example.org",
    timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    files_changed=["a.md"],
    additions=1,
    deletions=0,
    request_id="a-commit",
    branch="main",
    created=True,
)


@dataclass(frozen=True)
class NoopService:
    """Answers each request with the same commit or sha, ``delay_s`` after its group began."""

    delay_s: float

    def __call__(self, group: Group) -> Sequence[Outcome]:
        """Settle a group."""
        group.confirm()
        if self.delay_s:
            time.sleep(self.delay_s)
        return [Success(COMMIT if isinstance(one, CommitRequest) else SHA) for one in group.requests]


def noop_service(argument: Any) -> NoopService:
    """Build it; ``argument`` is the delay in seconds."""
    return NoopService(argument or 0.0)
