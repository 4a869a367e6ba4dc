"""The requests that cross the queue: one model each, which checks shape; ``check`` checks values.

``digest`` covers everything that the caller asked for and no time, so that the same id with another body is
noticed.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import ClassVar

from pydantic import FiniteFloat, field_validator

from memrepo import validation
from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import Limits
from memrepo.models import DEFAULT_AUTHOR, Author, FileChange, Model

LIST_LIMIT_MAX = 10_000
HISTORY_LIMIT_MAX = 1_000


class Request(Model):
    """What every request carries. ``enqueued_at`` is in seconds since 1970-01-01 UTC."""

    MUTATES: ClassVar[bool] = False
    ENDS_GROUP: ClassVar[bool] = False
    """Whether nothing after it may share its journal entry."""

    org_id: str
    agent_id: str
    request_id: str
    enqueued_at: FiniteFloat

    def check(self, limits: Limits) -> None:
        """Check every value; raises ``InvalidRequestError`` naming the field."""
        validation.check_id(self.org_id, "org_id")
        validation.check_id(self.agent_id, "agent_id")
        validation.check_request_id(self.request_id)
        validation.check_time(self.enqueued_at, "enqueued_at")
        self.check_body(limits)

    @abstractmethod
    def check_body(self, limits: Limits) -> None:
        """Check what this kind of request adds."""

    @property
    def digest(self) -> str:
        """A short fingerprint of the request without its id and time: 32 hexadecimal digits."""
        body = self.model_dump(mode="json", exclude={"request_id", "enqueued_at"}, context=_content_digest)
        text = json.dumps([type(self).__name__, body], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def content_bytes(self) -> int:
        """How many bytes of file content it carries."""
        return 0

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes, roughly: contents, paths and message."""
        return 0

    @property
    def shape(self) -> str:
        """What logs and Flower may show of it: who it concerns and how big it is, never what it says."""
        return f"{self.org_id}/{self.agent_id}"


HEAD_FIELDS = frozenset(Request.model_fields)
"""What every request's message says, also where the rest travels as a body."""


def _content_digest(data: bytes) -> dict[str, str]:
    """Stand for a content in a fingerprint, so that large ones are not written as JSON for it."""
    return {"sha256": hashlib.sha256(data).hexdigest()}


def _strip_slash(path: str) -> str:
    return path.removeprefix("/")


def _strip_slashes(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if paths is None else tuple(map(_strip_slash, paths))


class _ReadRequest(Request):
    ref: str = "HEAD"

    def check_body(self, limits: Limits) -> None:
        validation.check_ref(self.ref)
        self.check_read(limits)

    def check_read(self, limits: Limits) -> None:
        """Check what this kind of read adds."""


class _WriteRequest(Request):
    MUTATES: ClassVar[bool] = True


def check_changes(changes: tuple[FileChange, ...], limits: Limits, field: str) -> None:
    """Check a set of changes: count, sizes, each path, and the paths together."""
    if len(changes) > limits.changes_max:
        raise TooLargeError.of(field, f"{len(changes)} changes, over changes_max ({limits.changes_max})")
    total = 0
    for index, change in enumerate(changes):
        where = f"{field}[{index}]"
        validation.check_path(change.path, limits, f"{where}.path")
        if change.expected_sha256 is not None:
            validation.check_sha256(change.expected_sha256, f"{where}.expected_sha256")
        if change.change_type in ("add", "modify") and change.content is None:
            raise InvalidRequestError.of(f"{where}.content", f"is needed to {change.change_type} a file")
        size = len(change.content or b"")
        if size > limits.file_bytes_max:
            raise TooLargeError.of(
                f"{where}.content", f"is {size} bytes long, over file_bytes_max ({limits.file_bytes_max})"
            )
        total += size + len(change.path.encode())
    if total > limits.request_bytes_max:
        raise TooLargeError.of(field, f"{total} bytes, over request_bytes_max ({limits.request_bytes_max})")
    validation.check_paths_together((change.path for change in changes if not change.deletes), field)
    _check_no_path_twice(changes, field)


def _check_no_path_twice(changes: tuple[FileChange, ...], field: str) -> None:
    seen: set[str] = set()
    for change in changes:
        if change.path in seen:
            raise InvalidRequestError.of(field, f"{change.path!r} is there twice", path=change.path)
        seen.add(change.path)


class CreateRepoRequest(_WriteRequest):
    """Begin an agent's memory with its first commit."""

    initial_files: tuple[FileChange, ...] = ()
    author: Author = DEFAULT_AUTHOR

    @field_validator("initial_files")
    @classmethod
    def _relative(cls, files: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        return tuple(relative(file) for file in files)

    def check_body(self, limits: Limits) -> None:  # noqa: D102 - see Request
        check_changes(self.initial_files, limits, "initial_files")
        for index, change in enumerate(self.initial_files):
            if change.deletes:
                raise InvalidRequestError.of(f"initial_files[{index}].content", "is needed")
        self.author.check("author")

    @property
    def content_bytes(self) -> int:  # noqa: D102 - see Request
        return _content_bytes(self.initial_files)

    @property
    def size_bytes(self) -> int:  # noqa: D102 - see Request
        return _size_bytes(self.initial_files)

    @property
    def shape(self) -> str:  # noqa: D102 - see Request
        return f"{super().shape} {len(self.initial_files)} files {self.content_bytes} bytes"


class CommitRequest(_WriteRequest):
    """Change files on a branch, as one commit."""

    changes: tuple[FileChange, ...]
    message: str
    author: Author = DEFAULT_AUTHOR
    branch: str = "main"
    start_point: str = "main"
    expected_head: str | None = None
    create_repo_if_missing: bool = False

    @field_validator("changes")
    @classmethod
    def _relative(cls, changes: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        return tuple(relative(change) for change in changes)

    def check_body(self, limits: Limits) -> None:  # noqa: D102 - see Request
        check_changes(self.changes, limits, "changes")
        validation.check_message(self.message, limits)
        self.author.check("author")
        validation.check_branch(self.branch)
        validation.check_ref(self.start_point, "start_point")
        if self.expected_head is not None:
            validation.check_sha(self.expected_head, "expected_head")

    @property
    def content_bytes(self) -> int:  # noqa: D102 - see Request
        return _content_bytes(self.changes)

    @property
    def size_bytes(self) -> int:  # noqa: D102 - see Request
        return _size_bytes(self.changes) + len(self.message)

    @property
    def shape(self) -> str:  # noqa: D102 - see Request
        return f"{super().shape} {self.branch} {len(self.changes)} changes {self.content_bytes} bytes"


class GetFilesRequest(_ReadRequest):
    """Read all files, or some, at one ref."""

    paths: tuple[str, ...] | None = None

    _relative = field_validator("paths")(_strip_slashes)

    def check_read(self, limits: Limits) -> None:  # noqa: D102 - see _ReadRequest
        check_path_list(self.paths, limits)

    @property
    def size_bytes(self) -> int:  # noqa: D102 - see Request
        return _paths_bytes(self.paths)


class GetFileRequest(_ReadRequest):
    """Read one file at one ref."""

    path: str

    _relative = field_validator("path")(_strip_slash)

    def check_read(self, limits: Limits) -> None:  # noqa: D102 - see _ReadRequest
        validation.check_path(self.path, limits, "path")


class ListFilesRequest(_ReadRequest):
    """List names and sizes, in git's order, from ``after`` (exclusive) on."""

    prefix: str = ""
    limit: int = 1000
    after: str | None = None

    def check_read(self, limits: Limits) -> None:  # noqa: D102 - see _ReadRequest
        validation.check_count(self.limit, "limit", 1, LIST_LIMIT_MAX)
        validation.check_text(self.prefix, limits, "prefix")
        validation.check_text(self.after or "", limits, "after")


class GetHistoryRequest(_ReadRequest):
    """List commits, newest first, from ``after`` (a sha, exclusive) on."""

    path: str | None = None
    limit: int = 50
    after: str | None = None

    @field_validator("path")
    @classmethod
    def _relative(cls, path: str | None) -> str | None:
        return None if path is None else _strip_slash(path)

    def check_read(self, limits: Limits) -> None:  # noqa: D102 - see _ReadRequest
        validation.check_count(self.limit, "limit", 1, HISTORY_LIMIT_MAX)
        if self.path is not None:
            validation.check_path(self.path, limits, "path")
        if self.after is not None:
            validation.check_sha(self.after, "after")


class GetHeadShaRequest(Request):
    """Ask where a branch is."""

    branch: str = "main"

    def check_body(self, limits: Limits) -> None:  # noqa: ARG002, D102 - see Request
        validation.check_branch(self.branch)


class DiffRequest(Request):
    """Compare two refs, all files or some (a path names a file, or everything below a folder)."""

    base: str
    target: str
    paths: tuple[str, ...] | None = None

    _relative = field_validator("paths")(_strip_slashes)

    def check_body(self, limits: Limits) -> None:  # noqa: D102 - see Request
        validation.check_ref(self.base, "base")
        validation.check_ref(self.target, "target")
        check_path_list(self.paths, limits)

    @property
    def size_bytes(self) -> int:  # noqa: D102 - see Request
        return _paths_bytes(self.paths)


class RestoreRequest(_WriteRequest):
    """Bring the content of an old commit back as a new one, all of it or some paths."""

    ref: str
    paths: tuple[str, ...] | None = None
    branch: str = "main"
    author: Author = DEFAULT_AUTHOR

    _relative = field_validator("paths")(_strip_slashes)

    def check_body(self, limits: Limits) -> None:  # noqa: D102 - see Request
        validation.check_ref(self.ref)
        validation.check_branch(self.branch)
        check_path_list(self.paths, limits)
        self.author.check("author")

    @property
    def size_bytes(self) -> int:  # noqa: D102 - see Request
        return _paths_bytes(self.paths)


class ListBranchesRequest(Request):
    """List all branches."""

    def check_body(self, limits: Limits) -> None:
        """Nothing to check."""


class FindRequestRequest(Request):
    """Ask what became of the request of the id ``wanted``, long after its result has expired."""

    wanted: str

    def check_body(self, limits: Limits) -> None:  # noqa: ARG002, D102 - see Request
        validation.check_request_id(self.wanted)  # callers know it as request_id


class CreateBranchRequest(_WriteRequest):
    """Begin a branch at a commit."""

    name: str
    start_point: str = "main"

    def check_body(self, limits: Limits) -> None:  # noqa: ARG002, D102 - see Request
        validation.check_branch(self.name, "name")
        validation.check_ref(self.start_point, "start_point")


class DeleteBranchRequest(_WriteRequest):
    """Remove a branch; ``main`` stays."""

    name: str

    def check_body(self, limits: Limits) -> None:  # noqa: ARG002, D102 - see Request
        validation.check_branch(self.name, "name")
        if self.name == "main":
            raise InvalidRequestError.of("name", "main cannot be deleted: it is what HEAD names")


class DeleteRepoRequest(_WriteRequest):
    """Delete an agent's memory for good."""

    ENDS_GROUP: ClassVar[bool] = True

    def check_body(self, limits: Limits) -> None:
        """Nothing to check."""


def _content_bytes(changes: tuple[FileChange, ...]) -> int:
    return sum(len(change.content or b"") for change in changes)


def _size_bytes(changes: tuple[FileChange, ...]) -> int:
    return _content_bytes(changes) + sum(len(change.path) for change in changes)


def _paths_bytes(paths: tuple[str, ...] | None) -> int:
    return sum(map(len, paths or ()))


def check_path_list(paths: tuple[str, ...] | None, limits: Limits) -> None:
    """Check the paths that a request is restricted to."""
    if paths is not None and len(paths) > LIST_LIMIT_MAX:
        raise TooLargeError.of(
            "paths", f"{len(paths)} paths, over the {LIST_LIMIT_MAX} that one request may name"
        )
    for index, path in enumerate(paths or ()):
        validation.check_path(path, limits, f"paths[{index}]")


def relative(change: FileChange) -> FileChange:
    """Strip one leading slash, as the seed does."""
    if not change.path.startswith("/"):
        return change
    return change.model_copy(update={"path": _strip_slash(change.path)})
