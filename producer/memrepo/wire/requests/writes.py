"""The requests that change a memory: each is settled once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import StrictBool, StrictStr, field_validator
from typing_extensions import override

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import Limits
from memrepo.models import DEFAULT_AUTHOR, Author, FileChange, OnConflict
from memrepo.validation import values
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.edits import EditModel, FileOrEdit, Move
from memrepo.wire.requests.paths import bytes_of_paths, check_path_list, strip_slash, strip_slashes


class WriteRequest(Request):
    """A change."""

    MUTATES: ClassVar[bool] = True


class CreateRepoRequest(WriteRequest):
    """Begin an agent's memory with its first commit."""

    OPERATION: ClassVar[str] = "create_repo"

    initial_files: tuple[FileChange, ...] = ()
    author: Author = DEFAULT_AUTHOR

    @field_validator("initial_files")
    @classmethod
    def _relative(cls, files: tuple[FileChange, ...]) -> tuple[FileChange, ...]:
        return tuple(relative(file) for file in files)

    @override
    def check_fields(self, limits: Limits) -> None:
        check_changes(self.initial_files, limits, "initial_files")
        for index, change in enumerate(self.initial_files):
            if change.deletes:
                raise InvalidRequestError.of(f"initial_files[{index}].content", "is needed")
        self.author.check("author")

    @property
    @override
    def content_bytes(self) -> int:
        return content_bytes(self.initial_files)

    @property
    @override
    def size_bytes(self) -> int:
        return size_bytes(self.initial_files)

    @property
    @override
    def public_summary(self) -> str:
        return f"{super().public_summary} {len(self.initial_files)} files {self.content_bytes} bytes"


class CommitRequest(WriteRequest):
    """Change files on a branch, as one commit."""

    OPERATION: ClassVar[str] = "commit"

    changes: tuple[FileOrEdit, ...]
    message: StrictStr
    author: Author = DEFAULT_AUTHOR
    branch: StrictStr = "main"
    start_point: StrictStr = "main"
    expected_head: StrictStr | None = None
    create_repo_if_missing: StrictBool = False
    on_conflict: OnConflict = "fail"

    @field_validator("changes")
    @classmethod
    def _relative(cls, changes: tuple[FileOrEdit, ...]) -> tuple[FileChange | EditModel, ...]:
        return tuple(
            [change.relative() if isinstance(change, EditModel) else relative(change) for change in changes]
        )

    @override
    def check_fields(self, limits: Limits) -> None:
        check_changes(self.changes, limits, "changes")
        values.check_message(self.message, limits)
        self.author.check("author")
        values.check_branch(self.branch)
        values.check_ref(self.start_point, "start_point")
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")
        elif self.on_conflict != "fail":
            raise InvalidRequestError.of("on_conflict", "is about expected_head: give that, too")

    @property
    @override
    def content_bytes(self) -> int:
        return content_bytes(self.changes)

    @property
    @override
    def size_bytes(self) -> int:
        return size_bytes(self.changes) + len(self.message)

    @property
    @override
    def public_summary(self) -> str:
        return (
            f"{super().public_summary} {self.branch} {len(self.changes)} changes {self.content_bytes} bytes"
        )


class RestoreRequest(WriteRequest):
    """Bring the content of an old commit back as a new one, all of it or some paths."""

    OPERATION: ClassVar[str] = "restore"

    ref: StrictStr
    paths: tuple[StrictStr, ...] | None = None
    branch: StrictStr = "main"
    author: Author = DEFAULT_AUTHOR
    message: StrictStr | None = None
    expected_head: StrictStr | None = None

    _relative = field_validator("paths")(strip_slashes)

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_ref(self.ref)
        values.check_branch(self.branch)
        check_path_list(self.paths, limits)
        self.author.check("author")
        if self.message is not None:
            values.check_message(self.message, limits)
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")

    @property
    @override
    def size_bytes(self) -> int:
        return bytes_of_paths(self.paths) + len(self.message or "")


class CreateBranchRequest(WriteRequest):
    """Begin a branch at a commit."""

    OPERATION: ClassVar[str] = "create_branch"

    name: StrictStr
    start_point: StrictStr = "main"

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_branch(self.name, "name")
        values.check_ref(self.start_point, "start_point")


class DeleteBranchRequest(WriteRequest):
    """Remove a branch; ``main`` stays."""

    OPERATION: ClassVar[str] = "delete_branch"

    name: StrictStr
    expected_head: StrictStr | None = None

    @override
    def check_fields(self, limits: Limits) -> None:
        values.check_branch(self.name, "name")
        if self.name == "main":
            raise InvalidRequestError.of("name", "main cannot be deleted: it is what HEAD names")
        if self.expected_head is not None:
            values.check_sha(self.expected_head, "expected_head")


class DeleteRepoRequest(WriteRequest):
    """Delete an agent's memory for good."""

    OPERATION: ClassVar[str] = "delete_repo"
    ENDS_GROUP: ClassVar[bool] = True

    def check_fields(self, limits: Limits) -> None:
        """Nothing to check."""


def check_changes(changes: Sequence[FileChange | EditModel], limits: Limits, field: str) -> None:
    """Check a set of changes: count, sizes, each path, and the paths together.

    Where there are edits among them, whose order counts, one path may be there twice, and what the paths are together
    shows only once they were applied.
    """
    if len(changes) > limits.changes_max:
        raise TooLargeError.of(field, f"{len(changes)} changes, over changes_max ({limits.changes_max})")
    files: list[FileChange] = []
    for index, change in enumerate(changes):
        where = f"{field}[{index}]"
        if isinstance(change, EditModel):
            change.check(limits, where)
        else:
            _check_file(change, limits, where)
            files.append(change)
    total = size_bytes(changes)
    if total > limits.request_bytes_max:
        raise TooLargeError.of(field, f"{total} bytes, over request_bytes_max ({limits.request_bytes_max})")
    if len(files) == len(changes):
        values.check_paths_together([change.path for change in files if not change.deletes], field)
        _check_no_path_twice(files, field)


def _check_file(change: FileChange, limits: Limits, where: str) -> None:
    values.check_path(change.path, limits, f"{where}.path")
    if change.expected_sha256 is not None:
        values.check_sha256(change.expected_sha256, f"{where}.expected_sha256")
    if change.change_type == "delete" and change.content is not None:
        raise InvalidRequestError.of(
            f"{where}.content", "is not needed to delete a file: leave one of them out"
        )
    if change.change_type in ("add", "modify") and change.content is None:
        raise InvalidRequestError.of(f"{where}.content", f"is needed to {change.change_type} a file")
    if change.deletes and change.executable is not None:
        raise InvalidRequestError.of(
            f"{where}.executable",
            "is of a file that is written, and without content one is deleted: give both",
        )
    size = len(change.content or b"")
    if size > limits.file_bytes_max:
        raise TooLargeError.of(
            f"{where}.content", f"is {size} bytes long, over file_bytes_max ({limits.file_bytes_max})"
        )


def _check_no_path_twice(changes: Sequence[FileChange], field: str) -> None:
    seen: set[str] = set()
    for change in changes:
        if change.path in seen:
            raise InvalidRequestError.of(field, f"{change.path!r} is there twice", path=change.path)
        seen.add(change.path)


def content_bytes(changes: Sequence[FileChange | EditModel]) -> int:
    """Return how many bytes of content changes carry."""
    total = 0
    for change in changes:
        if isinstance(change, EditModel):
            total += sum(map(len, change.texts.values()))
        elif change.content is not None:
            total += len(change.content)
    return total


def size_bytes(changes: Sequence[FileChange | EditModel]) -> int:
    """Return how many bytes changes take, roughly: contents and paths."""
    total = content_bytes(changes)
    for change in changes:
        for path in paths_of(change):
            total += len(path.encode())
    return total


def paths_of(change: FileChange | EditModel) -> tuple[str, ...]:
    """Return the paths that a change names."""
    return (change.path, change.to) if isinstance(change, Move) else (change.path,)


def relative(change: FileChange) -> FileChange:
    """Strip one leading slash, as a Letta server does."""
    if not change.path.startswith("/"):
        return change
    return change.model_copy(update={"path": strip_slash(change.path)})
