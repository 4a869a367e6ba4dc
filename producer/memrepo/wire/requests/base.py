"""What every request is: who asks whom for what, checked, and known again by its digest."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import Annotated, ClassVar, TypedDict

from pydantic import AllowInfNan, Strict, StrictStr

from memrepo.limits import Limits
from memrepo.models import Model
from memrepo.validation import values


class Request(Model):
    """What every request carries. ``enqueued_at`` is in seconds since 1970-01-01 UTC."""

    OPERATION: ClassVar[str]
    """The name of what is asked for: in the task's name, in the digest, and in ``OPERATIONS``."""
    MUTATES: ClassVar[bool] = False
    ENDS_GROUP: ClassVar[bool] = False
    """Whether nothing after it may share its journal entry."""

    org_id: StrictStr
    agent_id: StrictStr
    request_id: StrictStr
    enqueued_at: Annotated[float, Strict(), AllowInfNan(allow_inf_nan=False)]

    def check(self, limits: Limits) -> None:
        """Check every value; raises ``InvalidRequestError`` naming the field."""
        values.check_id(self.org_id, "org_id")
        self.check_agent()
        values.check_request_id(self.request_id)
        values.check_time(self.enqueued_at, "enqueued_at")
        self.check_fields(limits)

    def check_agent(self) -> None:
        """Check whose memory it is about."""
        values.check_id(self.agent_id, "agent_id")

    @abstractmethod
    def check_fields(self, limits: Limits) -> None:
        """Check what this kind of request adds."""

    @property
    def digest(self) -> str:
        """A short fingerprint of what is asked for, without id and time: 32 hexadecimal digits.

        It is kept in journals and compared for as long as the horizon, also across an upgrade. So it names the
        operation, not a class, and leaves out every field that has its default: a later version may add fields, and
        must never change a default.
        """
        body = self.model_dump(
            mode="json", exclude={"request_id", "enqueued_at"}, exclude_defaults=True, context=_content_digest
        )
        text = _encode_sorted([self.OPERATION, body])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def memory(self) -> tuple[str, str]:
        """Whose memory answers it, or is written to: org and agent. It is settled in that one's ledger."""
        return self.org_id, self.agent_id

    @property
    def content_bytes(self) -> int:
        """How many bytes of file content it carries."""
        return 0

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes, roughly: contents, paths and message."""
        return 0

    @property
    def public_summary(self) -> str:
        """What logs and Flower may show of it: who it concerns and how big it is, never what it says."""
        return f"{self.org_id}/{self.agent_id}"


class Head(TypedDict):
    """The values that every request begins with."""

    org_id: str
    agent_id: str
    request_id: str
    enqueued_at: float


HEAD_FIELDS = frozenset(Request.model_fields)
"""What every request's message says, also where the rest travels as a body."""


_encode_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def _content_digest(data: bytes) -> dict[str, str]:
    """Stand for a content in a fingerprint, so that large ones are not written as JSON for it."""
    return {"sha256": hashlib.sha256(data).hexdigest()}
