"""Edits of files, which say what to do instead of what comes out: no read is needed, and no writer loses to another.

They stand in a commit's ``changes`` beside ``FileChange``, and are applied in order, each on what those before it left.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, StrictBool, StrictInt, StrictStr
from pydantic import Tag as UnionTag
from pydantic_core import PydanticCustomError
from typing_extensions import override

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo.limits import Limits
from memrepo.models import Content, FileChange, Model
from memrepo.validation import values
from memrepo.wire.requests.paths import strip_slash

COUNT_MAX = 2**31 - 1


def _text(value: object) -> object:
    """Let through what a text may come as; ``Content`` makes bytes of it."""
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")  # refused later, with its field
    if isinstance(value, bytes | dict):
        return value
    raise PydanticCustomError("content", "must be str, not {kind}", {"kind": type(value).__name__})


Text = Annotated[Content, BeforeValidator(_text)]
"""A text, as the bytes of its UTF-8. It travels as a content does."""


class EditModel(Model):
    """What all edits have. ``expected_sha256`` is of the file as the commit's parent has it; empty: not there."""

    path: StrictStr
    expected_sha256: StrictStr | None = None

    @property
    def texts(self) -> dict[str, bytes]:
        """The texts that it carries, by field."""
        return {}

    def check(self, limits: Limits, where: str) -> None:
        """Check the values; raises ``InvalidRequestError`` naming the field."""
        values.check_path(self.path, limits, f"{where}.path")
        if self.expected_sha256 is not None:
            values.check_sha256(self.expected_sha256, f"{where}.expected_sha256")
        for name, text in self.texts.items():
            _check_text(text, limits, f"{where}.{name}")

    def relative(self) -> EditModel:
        """Return the same with a leading slash of each path stripped."""
        return self.model_copy(update={"path": strip_slash(self.path)})


class Append(EditModel):
    """Add text at the end of a file; see ``append``."""

    edit: Literal["append"]
    text: Text
    new_line: StrictBool = False

    @property
    @override
    def texts(self) -> dict[str, bytes]:
        return {"text": self.text}


class Replace(EditModel):
    """Put one text in the place of another; see ``replace``."""

    edit: Literal["replace"]
    old: Text
    new: Text
    count: StrictInt = 1

    @property
    @override
    def texts(self) -> dict[str, bytes]:
        return {"old": self.old, "new": self.new}

    @override
    def check(self, limits: Limits, where: str) -> None:
        super().check(limits, where)
        if not self.old:
            raise InvalidRequestError.of(f"{where}.old", "must not be empty")
        values.check_count(self.count, f"{where}.count", 1, COUNT_MAX)


class Insert(EditModel):
    """Put text behind a line; see ``insert``."""

    edit: Literal["insert"]
    line: StrictInt
    text: Text

    @property
    @override
    def texts(self) -> dict[str, bytes]:
        return {"text": self.text}

    @override
    def check(self, limits: Limits, where: str) -> None:
        super().check(limits, where)
        values.check_count(self.line, f"{where}.line", 0, COUNT_MAX)


class Move(EditModel):
    """Give a file or folder another path; see ``move``."""

    edit: Literal["move"]
    to: StrictStr
    overwrite: StrictBool = False

    @override
    def check(self, limits: Limits, where: str) -> None:
        super().check(limits, where)
        values.check_path(self.to, limits, f"{where}.to")
        if self.to.startswith(f"{self.path}/"):
            raise InvalidRequestError.of(f"{where}.to", "is inside of the path that would be moved")
        if self.path.startswith(f"{self.to}/"):
            raise InvalidRequestError.of(f"{where}.to", "is a folder that the path is inside of")

    @override
    def relative(self) -> Move:
        return self.model_copy(update={"path": strip_slash(self.path), "to": strip_slash(self.to)})


Edit = Append | Replace | Insert | Move

_KINDS = {"append", "replace", "insert", "move"}


def _kind(value: object) -> str:
    """Say which model a change is of; a kind that is not known here is then a field that is not."""
    if isinstance(value, FileChange):  # nearly all are: what it has not is long looked for
        return "<file>"
    kind = value.get("edit") if isinstance(value, dict) else getattr(value, "edit", None)
    return f"<{kind}>" if isinstance(kind, str) and kind in _KINDS else "<file>"


FileOrEdit = Annotated[
    Annotated[FileChange, UnionTag("<file>")]
    | Annotated[Append, UnionTag("<append>")]
    | Annotated[Replace, UnionTag("<replace>")]
    | Annotated[Insert, UnionTag("<insert>")]
    | Annotated[Move, UnionTag("<move>")],
    Discriminator(_kind),
]
"""A file as it shall be, or an edit of one."""


def append(path: str, text: str, *, new_line: bool = False, expected_sha256: str | None = None) -> Append:
    """Add text at the end of a file, or begin the file with it.

    With ``new_line`` a file that does not end in a line break gets one first. Whoever else appends meanwhile, nothing
    is lost. As for all edits: a file that is not text is refused, modes are kept, and ``expected_sha256`` is what the
    caller relies on of the file as it was before the commit.
    """
    return Append(
        edit="append",
        path=path,
        text=_bytes_of(text, "text"),
        new_line=new_line,
        expected_sha256=expected_sha256,
    )


def replace(path: str, old: str, new: str, *, count: int = 1, expected_sha256: str | None = None) -> Replace:
    """Put ``new`` wherever ``old`` is in a file.

    It must be there exactly ``count`` times, not overlapping; else the job raises ``ContentMovedError``, whose details
    say how often it is. A file that is not there is a ``PathNotFoundError``.
    """
    return Replace(
        edit="replace",
        path=path,
        old=_bytes_of(old, "old"),
        new=_bytes_of(new, "new"),
        count=count,
        expected_sha256=expected_sha256,
    )


def insert(path: str, line: int, text: str, *, expected_sha256: str | None = None) -> Insert:
    """Put text behind a line of a file, 0 for its beginning; it gets a line break unless it ends in one.

    A line beyond the end is a ``ContentMovedError``, and a file that is not there a ``PathNotFoundError``.
    """
    return Insert(
        edit="insert", path=path, line=line, text=_bytes_of(text, "text"), expected_sha256=expected_sha256
    )


def move(path: str, to: str, *, overwrite: bool = False, expected_sha256: str | None = None) -> Move:
    """Give a file, or a folder with all that is in it, another path.

    What is at ``to`` already makes the job raise ``InvalidRequestError``, unless ``overwrite`` has it replaced, a
    folder as a whole. Nothing at ``path`` is a ``PathNotFoundError``. Moved onto itself, nothing changes.
    """
    return Move(edit="move", path=path, to=to, overwrite=overwrite, expected_sha256=expected_sha256)


def _bytes_of(text: object, field: str) -> bytes:
    """Return a caller's text as the models have it; bytes are for ``FileChange``, which takes any."""
    if not isinstance(text, str):
        raise InvalidRequestError.of(field, f"must be str, not {type(text).__name__}")
    return text.encode(errors="surrogatepass")


def _check_text(text: bytes, limits: Limits, where: str) -> None:
    if len(text) > limits.file_bytes_max:
        raise TooLargeError.of(
            where, f"is {len(text)} bytes long, over file_bytes_max ({limits.file_bytes_max})"
        )
    if b"\0" in text:
        raise InvalidRequestError.of(where, "must be text, and has NUL: write binary files by FileChange")
    try:
        text.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError.of(where, "must be text, and is not valid Unicode") from None
