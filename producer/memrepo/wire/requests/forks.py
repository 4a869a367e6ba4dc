"""The requests about copies of memories: making one, and finding what one was copied from."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictBool, StrictStr
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.models import DEFAULT_AUTHOR, Author
from memrepo.validation import values
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import WriteRequest


class ForkRequest(WriteRequest):
    """Begin another agent's memory, in the same organisation, with what this agent's has at a ref.

    It waits for its turn among the requests of the memory that it copies, and so sees what those before it made. It is
    the new memory that it writes to, whose ledger settles it.
    """

    OPERATION: ClassVar[str] = "fork"
    ENDS_GROUP: ClassVar[bool] = True

    new_agent_id: StrictStr
    ref: StrictStr = "HEAD"
    history: StrictBool = True
    author: Author = DEFAULT_AUTHOR

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_id(self.new_agent_id, "new_agent_id")
        if self.new_agent_id == self.agent_id:
            raise InvalidRequestError.of("new_agent_id", "is the memory that is forked: name another agent")
        values.check_ref(self.ref)
        self.author.check("author")

    @property
    @override
    def memory(self) -> tuple[str, str]:
        return self.org_id, self.new_agent_id

    @property
    @override
    def public_summary(self) -> str:
        how = "with its history" if self.history else "without its history"
        return f"{super().public_summary} to {self.org_id}/{self.new_agent_id} {how}"


class GetOriginsRequest(Request):
    """Which memories an agent's was copied from."""

    OPERATION: ClassVar[str] = "get_origins"

    def check_fields(self, limits: Limits) -> None:
        """Nothing to check."""
