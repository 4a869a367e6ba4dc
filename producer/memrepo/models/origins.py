"""Where memories come from."""

from __future__ import annotations

from datetime import datetime

from memrepo.models.base import ResultModel


class Origin(ResultModel):
    """A memory was begun, by a fork, with what another had at commit ``sha``; ``at`` is when that was asked for."""

    org_id: str
    agent_id: str
    sha: str
    at: datetime
