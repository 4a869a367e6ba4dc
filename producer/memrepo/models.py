"""The values that cross the queue as results, and the parts that requests are made of.

All are frozen pydantic models with a JSON form. File content is ``bytes``; its JSON form is
``{"utf8": "…"}`` where it is text and ``{"base64": "…"}`` where it is not. Written with a ``ContentWriter`` as the
context it is what that says, and read with contents as the context, ``{"attached": number}`` is one of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    SerializationInfo,
    StrictBool,
    StrictStr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from memrepo.errors import MemoryRepoError, from_wire
from memrepo.validation.shape_errors import invalid_request
from memrepo.validation.values import check_ident

AuthorType = Literal["agent", "user", "system"]
ChangeType = Literal["add", "modify", "delete"]
ContentWriter = Callable[[bytes], dict[str, Any]]
"""Says what stands for a content in the JSON."""

Verdict = Literal["committed", "unchanged", "done", "deleted", "failed"]


def _content_to_json(data: bytes | None, info: SerializationInfo) -> dict[str, Any] | None:
    if data is None:
        return None
    if info.context is not None:
        write: ContentWriter = info.context
        return write(data)
    try:
        return {"utf8": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _content_from_json(value: object, info: ValidationInfo) -> bytes | None:
    contents: Sequence[bytes] = info.context or ()
    match value:
        case {"attached": int(number), **more} if not more and 0 <= number < len(contents):
            return contents[number]
        case {"utf8": str(text), **more} if not more:
            return text.encode()
        case {"base64": str(text), **more} if not more:
            return base64.b64decode(text, validate=True)
        case str():
            return value.encode()
        case bytes() | None:
            return value
        case bytearray() | memoryview():
            return bytes(value)
    kind = type(value).__name__
    raise PydanticCustomError(
        "content", "must be str, bytes or None (which deletes), not {kind}", {"kind": kind}
    )


def _one(name: str, kind: str) -> JsonValue:
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}


_CONTENT_SCHEMA: JsonValue = {
    "description": "Text, or bytes in base64; where contents travel apart, the number of one, counted from 0.",
    "anyOf": [_one("utf8", "string"), _one("base64", "string"), _one("attached", "integer")],
}

Content = Annotated[
    bytes,
    BeforeValidator(_content_from_json),
    PlainSerializer(_content_to_json, when_used="json"),
    WithJsonSchema(_CONTENT_SCHEMA),
]


class Model(BaseModel):
    """Base of all models: immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    if not TYPE_CHECKING:  # type checkers know the fields

        def __init__(self, **values: object) -> None:
            """Take the fields' values.

            Raises:
                InvalidRequestError: naming the first field whose value has another shape.
            """
            try:
                super().__init__(**values)
            except ValidationError as error:
                kind = type(self)
                raise invalid_request(error, kind, unknown=f"is no field of {kind.__name__}") from None

        # Pydantic's own mark: values inside of others are still built without a call of this.
        __init__.__pydantic_base_init__ = True


class ResultModel(Model):
    """Base of what workers answer: fields that a later version has added are passed over."""

    model_config = ConfigDict(extra="ignore")


class Author(Model):
    """Who wrote a commit: name and e-mail as git shows them, kind and id as trailers of the commit."""

    name: StrictStr
    email: StrictStr
    type: AuthorType = "agent"
    id: StrictStr | None = None

    def check(self, field: str) -> None:
        """Check the values; raises ``InvalidRequestError`` naming the field."""
        check_ident(self.name, f"{field}.name")
        check_ident(self.email, f"{field}.email")
        if self.id is not None:
            check_ident(self.id, f"{field}.id")


DEFAULT_AUTHOR = Author(name="memrepo", email="memrepo@localhost", type="system")
"""Who commits when the caller names nobody."""


class FileChange(Model):
    """One file to write or delete.

    ``content=None`` deletes, as does ``change_type="delete"``, which takes none; ``add`` and ``modify`` both write.
    ``executable=None`` keeps the file's mode. ``expected_sha256`` is the sha256 of the present content that
    the caller relies on; empty means that the file must not exist.
    """

    path: StrictStr
    content: Content | None = None
    change_type: ChangeType | None = None
    executable: StrictBool | None = None
    expected_sha256: StrictStr | None = None

    if TYPE_CHECKING:  # so that type checkers let text through as content, which is bytes once it is in

        def __init__(
            self,
            *,
            path: str,
            content: str | bytes | None = None,
            change_type: ChangeType | None = None,
            executable: bool | None = None,
            expected_sha256: str | None = None,
        ) -> None: ...

    @property
    def deletes(self) -> bool:
        """Whether the file is to be removed."""
        return self.content is None or self.change_type == "delete"


class FileInfo(ResultModel):
    """A file's name and shape, without its content. ``size`` is in bytes, ``sha`` is git's blob id."""

    path: str
    sha: str
    size: int
    executable: bool = False


class MemoryFile(ResultModel):
    """One file at one commit. ``sha`` is git's blob id, ``size`` is in bytes."""

    path: str
    data: Content
    sha: str
    size: int
    executable: bool = False

    @property
    def text(self) -> str:
        """The content as text; raises ``UnicodeDecodeError`` for a binary file."""
        return self.data.decode()

    @property
    def sha256(self) -> str:
        """The content's sha256, as ``expected_sha256`` wants it."""
        return hashlib.sha256(self.data).hexdigest()


class Snapshot(ResultModel, Mapping[str, MemoryFile]):
    """The files of one commit: a mapping from path to ``MemoryFile``."""

    commit_sha: str
    files: dict[str, MemoryFile]

    def __getitem__(self, path: str) -> MemoryFile:
        return self.files[path]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a mapping iterates over its keys
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class MemoryCommit(ResultModel):
    """One commit. ``additions`` and ``deletions`` count lines, as ``git diff --numstat`` does.

    Where ``counts_exact`` is False, a file differs in more bytes than workers compare (``MEMREPO_COMPARED_BYTES_MAX``),
    or comparing it took git too long: all of its old lines count as removed, and all new ones as added.
    """

    sha: str
    parent_sha: str | None
    message: str
    author_type: AuthorType
    author_id: str | None
    author_name: str
    author_email: str
    timestamp: datetime
    files_changed: list[str]
    additions: int
    deletions: int
    request_id: str | None
    counts_exact: bool = True


class CommitResult(MemoryCommit):
    """The commit that a request made; with ``created=False`` nothing changed and it is the present head.

    ``new_branch`` says that the branch was not there before, which a misspelt name shows. ``main``, which begins with
    the memory itself, is never new.
    """

    branch: str
    created: bool
    new_branch: bool = False


class RequestOutcome(ResultModel):
    """What became of a request: ``done`` is said of branches, ``failed`` comes with the error that was given.

    ``sha`` is the commit that it made or met, for ``deleted`` the last one of ``main``, and None where there was none;
    ``commit`` describes it where it is still there.
    """

    request_id: str
    verdict: Verdict
    sha: str | None = None
    commit: MemoryCommit | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_details: dict[str, Any] | None = None

    @property
    def error(self) -> MemoryRepoError | None:
        """The error as the job raised it; None for a request that succeeded."""
        if self.error_type is None:
            return None
        return from_wire(self.error_type, self.error_message or "", self.error_details)


class FileDiff(ResultModel):
    """What happened to one file between two commits; ``patch`` is empty for a binary file.

    It is empty, too, where ``counts_exact`` is False (see ``MemoryCommit``).
    """

    path: str
    status: Literal["added", "modified", "deleted"]
    additions: int
    deletions: int
    binary: bool
    patch: str
    counts_exact: bool = True


class Diff(ResultModel):
    """The difference between two commits."""

    base_sha: str
    target_sha: str
    files: list[FileDiff]


class Branch(ResultModel):
    """A branch and the commit that it points to."""

    name: str
    sha: str
