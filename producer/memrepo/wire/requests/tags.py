"""The requests about tags: names of commits that stay where they are."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictBool, StrictStr
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.validation import values
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import WriteRequest


class ListTagsRequest(Request):
    """List all tags."""

    OPERATION: ClassVar[str] = "list_tags"

    def check_fields(self, limits: Limits) -> None:
        """Nothing to check."""


class CreateTagRequest(WriteRequest):
    """Give a commit a name."""

    OPERATION: ClassVar[str] = "create_tag"

    name: StrictStr
    ref: StrictStr = "main"
    overwrite: StrictBool = False
    expected_head: StrictStr | None = None

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_tag(self.name, "name")
        values.check_ref(self.ref)
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")
            if not self.overwrite:
                raise InvalidRequestError.of(
                    "expected_head", "is about a tag that is moved: give overwrite=True, too"
                )


class DeleteTagRequest(WriteRequest):
    """Remove a tag."""

    OPERATION: ClassVar[str] = "delete_tag"

    name: StrictStr
    expected_head: StrictStr | None = None

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_tag(self.name, "name")
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")
