"""Searching the files of one ref."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictBool, StrictInt, StrictStr, field_validator
from typing_extensions import override

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import Limits
from memrepo.validation import values
from memrepo.wire.requests.paths import bytes_of_paths, check_path_list, strip_slashes
from memrepo.wire.requests.reads import ReadRequest

SEARCH_LIMIT_MAX = 1_000
CONTEXT_MAX = 20
TEXT_BYTES_MAX = 1_000


class SearchRequest(ReadRequest):
    """Look for a text, or a regular expression, in the files of one ref, all or those at and below some paths."""

    OPERATION: ClassVar[str] = "search"

    text: StrictStr
    paths: tuple[StrictStr, ...] | None = None
    regex: StrictBool = False
    ignore_case: StrictBool = False
    context: StrictInt = 0
    limit: StrictInt = 200

    _relative = field_validator("paths")(strip_slashes)

    @override
    def check_read(self, limits: Limits) -> None:
        _check_text(self.text)
        check_path_list(self.paths, limits)
        values.check_count(self.context, "context", 0, CONTEXT_MAX)
        values.check_count(self.limit, "limit", 1, SEARCH_LIMIT_MAX)

    @property
    @override
    def size_bytes(self) -> int:
        return bytes_of_paths(self.paths)


def _check_text(text: str) -> None:
    """Check what is looked for. Whether it is a regular expression, only the worker can tell."""
    raw = values.check_unicode(text, "text")
    if not raw:
        raise InvalidRequestError.of("text", "must not be empty")
    if b"\n" in raw or b"\0" in raw:
        raise InvalidRequestError.of("text", "must be found within a line of text: no line break and no NUL")
    if len(raw) > TEXT_BYTES_MAX:
        raise TooLargeError.of("text", f"is {len(raw)} bytes long, over {TEXT_BYTES_MAX}")
