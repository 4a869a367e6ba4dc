"""The requests that merge, or ask what a merge would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import StrictBool, StrictStr, field_validator
from typing_extensions import override

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.models import DEFAULT_AUTHOR, Author, FastForward, Favor, FileChange
from memrepo.validation import values
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.writes import WriteRequest, check_changes, content_bytes, relative, size_bytes


class MergeRequest(WriteRequest):
    """Bring what one ref has into a branch."""

    OPERATION: ClassVar[str] = "merge"

    source: StrictStr
    target: StrictStr = "main"
    message: StrictStr | None = None
    author: Author = DEFAULT_AUTHOR
    fast_forward: FastForward = "prefer"
    squash: StrictBool = False
    favor: Favor | None = None
    resolutions: tuple[FileChange, ...] = ()
    expected_head: StrictStr | None = None

    @field_validator("resolutions")
    @classmethod
    def _relative(cls, files: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        return tuple(relative(file) for file in files)

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_ref(self.source, "source")
        values.check_branch(self.target, "target")
        if self.message is not None:
            values.check_message(self.message, limits)
        self.author.check("author")
        if self.squash and self.fast_forward != "prefer":
            raise InvalidRequestError.of("fast_forward", "goes with squash=False alone")
        _check_resolutions(self.resolutions, limits)
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")

    @property
    @override
    def content_bytes(self) -> int:
        return content_bytes(self.resolutions)

    @property
    @override
    def size_bytes(self) -> int:
        return size_bytes(self.resolutions) + len(self.message or "")

    @property
    @override
    def public_summary(self) -> str:
        return f"{super().public_summary} {self.target} {len(self.resolutions)} resolutions"


class PreviewMergeRequest(Request):
    """Ask what a merge would do."""

    OPERATION: ClassVar[str] = "preview_merge"

    source: StrictStr
    target: StrictStr = "main"
    squash: StrictBool = False
    favor: Favor | None = None
    resolutions: tuple[FileChange, ...] = ()

    @field_validator("resolutions")
    @classmethod
    def _relative(cls, files: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        return tuple(relative(file) for file in files)

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_ref(self.source, "source")
        values.check_branch(self.target, "target")
        _check_resolutions(self.resolutions, limits)

    @property
    @override
    def content_bytes(self) -> int:
        return content_bytes(self.resolutions)

    @property
    @override
    def size_bytes(self) -> int:
        return size_bytes(self.resolutions)


def _check_resolutions(resolutions: Sequence[FileChange], limits: Limits) -> None:
    check_changes(resolutions, limits, "resolutions")
    for index, change in enumerate(resolutions):
        if change.expected_sha256 is not None:
            raise InvalidRequestError.of(
                f"resolutions[{index}].expected_sha256", "is not asked of a resolution: leave it out"
            )
