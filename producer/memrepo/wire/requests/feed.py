"""Asking what changed in a memory."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictInt
from typing_extensions import override

from memrepo.limits import Limits
from memrepo.validation import values
from memrepo.wire.requests.base import Request

CHANGES_LIMIT_MAX = 1_000
SEQ_MAX = 10**15


class GetChangesRequest(Request):
    """Ask what the entries after one have changed; of None, which the newest is."""

    OPERATION: ClassVar[str] = "get_changes"

    after: StrictInt | None = 0
    limit: StrictInt = 100

    @override
    def check_fields(self, limits: Limits) -> None:
        if self.after is not None:
            values.check_count(self.after, "after", 0, SEQ_MAX)
        values.check_count(self.limit, "limit", 1, CHANGES_LIMIT_MAX)
