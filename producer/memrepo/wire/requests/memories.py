"""Asking which memories an org has."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictInt, StrictStr
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.validation import values
from memrepo.wire.requests.base import Request

EVERY_AGENT = "*"
"""Stands for the agent where a request is about an org. No agent can have that id."""

MEMORIES_LIMIT_MAX = 500


class ListMemoriesRequest(Request):
    """List the memories of an org whose agent's id begins with ``prefix``, from ``after`` (exclusive) on."""

    OPERATION: ClassVar[str] = "list_memories"

    prefix: StrictStr = ""
    limit: StrictInt = 100
    after: StrictStr | None = None

    @override
    def check_agent(self) -> None:
        if self.agent_id != EVERY_AGENT:
            raise InvalidRequestError.of("agent_id", f"must be {EVERY_AGENT!r}: the request is about an org")

    @override
    def check_fields(self, limits: Limits) -> None:
        if self.prefix:
            values.check_id(self.prefix, "prefix")
        values.check_count(self.limit, "limit", 1, MEMORIES_LIMIT_MAX)
        if self.after is not None:
            values.check_text(self.after, limits, "after")
            if not self.after or "/" in self.after:
                raise InvalidRequestError.of(
                    "after", "must be an agent's id, or what a page has as next_after"
                )
