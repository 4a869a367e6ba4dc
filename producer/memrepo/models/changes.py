"""What a caller says of a write: who writes, and which files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import StrictBool, StrictStr

from memrepo.models.base import Content, Model
from memrepo.validation.values import check_ident

AuthorType = Literal["agent", "user", "system"]
ChangeType = Literal["add", "modify", "delete"]
OnConflict = Literal["fail", "rebase", "merge"]


class Author(Model):
    """Who wrote a commit: name and e-mail as git shows them, kind and id as trailers of the commit."""

    name: StrictStr
    email: StrictStr
    type: AuthorType = "agent"
    id: StrictStr | None = None

    def check(self, field: str) -> None:
        """Check the values; raises ``InvalidRequestError`` naming the field."""
        if self is DEFAULT_AUTHOR:  # what most requests have, on both sides of the queue
            return
        check_ident(self.name, f"{field}.name")
        check_ident(self.email, f"{field}.email")
        if self.id is not None:
            check_ident(self.id, f"{field}.id")


DEFAULT_AUTHOR = Author(name="memrepo", email="memrepo@localhost", type="system")
"""Who commits when the caller names nobody."""


class FileChange(Model):
    """One file to write or delete.

    ``content=None`` deletes, as does ``change_type="delete"``, which takes none; ``add`` and ``modify`` both write.
    ``executable=None`` keeps the file's mode; to set it, give the content, too. ``expected_sha256`` is the sha256 of
    the present content that the caller relies on; empty means that the file must not exist.
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
