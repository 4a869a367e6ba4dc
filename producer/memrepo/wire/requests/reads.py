"""The requests that change nothing."""

from __future__ import annotations

from typing import ClassVar

from pydantic import StrictInt, StrictStr, field_validator
from typing_extensions import override

from memrepo.limits import Limits
from memrepo.validation import values
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.paths import (
    LIST_LIMIT_MAX,
    bytes_of_paths,
    check_path_list,
    strip_slash,
    strip_slashes,
)

HISTORY_LIMIT_MAX = 1_000


class ReadRequest(Request):
    """A read of one ref."""

    ref: StrictStr = "HEAD"

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_ref(self.ref)
        self.check_read(limits)

    def check_read(self, limits: Limits) -> None:
        """Check what this kind of read adds."""


class GetFilesRequest(ReadRequest):
    """Read all files, or some, at one ref."""

    OPERATION: ClassVar[str] = "get_files"

    paths: tuple[StrictStr, ...] | None = None

    _relative = field_validator("paths")(strip_slashes)

    @override
    def check_read(self, limits: Limits) -> None:
        check_path_list(self.paths, limits)

    @property
    @override
    def size_bytes(self) -> int:
        return bytes_of_paths(self.paths)


class GetFileRequest(ReadRequest):
    """Read one file at one ref."""

    OPERATION: ClassVar[str] = "get_file"

    path: StrictStr

    _relative = field_validator("path")(strip_slash)

    @override
    def check_read(self, limits: Limits) -> None:
        values.check_path(self.path, limits, "path")


class ListFilesRequest(ReadRequest):
    """List names and sizes, in git's order, from ``after`` (exclusive) on."""

    OPERATION: ClassVar[str] = "list_files"

    prefix: StrictStr = ""
    limit: StrictInt = 1000
    after: StrictStr | None = None

    @field_validator("prefix", "after")
    @classmethod
    def _relative(cls, path: str | None) -> str | None:
        return None if path is None else strip_slash(path)

    @override
    def check_read(self, limits: Limits) -> None:
        values.check_count(self.limit, "limit", 1, LIST_LIMIT_MAX)
        values.check_text(self.prefix, limits, "prefix")
        values.check_text(self.after or "", limits, "after")


class GetHistoryRequest(ReadRequest):
    """List commits, newest first, from ``after`` (a ref, exclusive) on."""

    OPERATION: ClassVar[str] = "get_history"

    path: StrictStr | None = None
    limit: StrictInt = 50
    after: StrictStr | None = None

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str | None) -> str | None:
        return None if path is None else strip_slash(path)

    @override
    def check_read(self, limits: Limits) -> None:
        values.check_count(self.limit, "limit", 1, HISTORY_LIMIT_MAX)
        if self.path is not None:
            values.check_path(self.path, limits, "path")
        if self.after is not None:
            values.check_ref(self.after, "after")


class GetCommitRequest(ReadRequest):
    """Describe the commit at one ref."""

    OPERATION: ClassVar[str] = "get_commit"


class GetHeadShaRequest(Request):
    """Ask where a branch is."""

    OPERATION: ClassVar[str] = "get_head_sha"

    branch: StrictStr = "main"

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_branch(self.branch)


class DiffRequest(Request):
    """Compare two refs, all files or some (a path names a file, or everything below a folder)."""

    OPERATION: ClassVar[str] = "diff"

    base: StrictStr
    target: StrictStr
    paths: tuple[StrictStr, ...] | None = None

    _relative = field_validator("paths")(strip_slashes)

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_ref(self.base, "base")
        values.check_ref(self.target, "target")
        check_path_list(self.paths, limits)

    @property
    @override
    def size_bytes(self) -> int:
        return bytes_of_paths(self.paths)


class ListBranchesRequest(Request):
    """List all branches."""

    OPERATION: ClassVar[str] = "list_branches"

    def check_fields(self, limits: Limits) -> None:
        """Nothing to check."""


class FindRequestRequest(Request):
    """Ask what became of the request of the id ``wanted``, long after its result has expired."""

    OPERATION: ClassVar[str] = "find_request"

    wanted: StrictStr

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_request_id(self.wanted)  # callers know it as request_id
