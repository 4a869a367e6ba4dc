"""Files to write, as callers give them, and as the requests take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memrepo.errors import InvalidRequestError
from memrepo.models import FileChange
from memrepo.wire.requests.edits import Append, Edit, Insert, Move, Replace

Files = Mapping[str, str | bytes | None] | Sequence[FileChange]
Changes = Files | Sequence[Edit] | Sequence[FileChange | Edit]
"""Files to write: path to content, where None deletes; or a ``FileChange`` each. Edits may be among these."""


def changes_of(changes: object, field: str, beside: str = "") -> tuple[FileChange, ...]:
    """Return changes as what the requests take; ``beside`` says what else a sequence may have."""
    if isinstance(changes, Mapping):
        return tuple(_change(*one, f"{field}[{index}]") for index, one in enumerate(changes.items()))
    if isinstance(changes, Sequence) and not isinstance(changes, str | bytes):
        listed = tuple(one for one in changes if isinstance(one, FileChange))
        if len(listed) == len(changes):
            return listed
    raise InvalidRequestError.of(
        field, f"must map paths to str, bytes or None, or be a sequence of FileChange{beside}"
    )


def changes_and_edits_of(changes: object) -> tuple[FileChange | Edit, ...]:
    """Return a commit's changes as the request takes them."""
    if isinstance(changes, Sequence) and not isinstance(changes, str | bytes):
        listed = tuple(
            one for one in changes if isinstance(one, FileChange | Append | Replace | Insert | Move)
        )
        if len(listed) == len(changes):
            return listed
    return changes_of(changes, "changes", " and edits, as [append(…)]")


def _change(path: str, content: str | bytes | None, where: str) -> FileChange:
    try:
        return FileChange(path=path, content=content)
    except InvalidRequestError as error:
        raise error.within(where) from None
