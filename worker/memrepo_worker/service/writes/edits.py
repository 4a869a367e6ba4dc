"""From edits of files to a commit in a draft."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from memrepo.errors import InvalidRequestError
from memrepo.models import Author
from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.objects import Kind
from memrepo_worker.repos.draft import Draft
from memrepo_worker.service.commits import compose


class Signed(Protocol):
    """What a commit says of the request that made it."""

    @property
    def author(self) -> Author:
        """Who wrote it."""
        ...

    @property
    def request_id(self) -> str:
        """The request's id."""
        ...

    @property
    def enqueued_at(self) -> float:
        """When it was enqueued, in seconds since 1970-01-01 UTC."""
        ...


def refuse_folders(paths: Sequence[str]) -> None:
    """Refuse to delete a folder by its own path, which would leave what is in it.

    Raises:
        InvalidRequestError: naming the first, if there are any.
    """
    for path in paths:
        raise InvalidRequestError.of(
            "changes", f"{path!r} is a folder: delete the files that are in it", path=path
        )


def commit_edits(
    draft: Draft,
    signed: Signed,
    edits: Sequence[FileEdit],
    parent: str | None,
    message: str,
    source: str | None = None,
) -> str:
    """Add a commit with these edits to the draft; return its id, or the parent's when nothing changed.

    ``source`` is a commit that has the contents of all that is written: the entry refers to it, and leaves them out.

    Raises:
        InvalidRequestError: an edit does not fit the tree.
    """
    before = draft.reader.commit(parent).tree if parent else None
    editor = TreeEditor(draft.reader)
    try:
        tree = editor.apply(before, edits)
    except TreeConflictError as conflict:
        raise InvalidRequestError.of("changes", str(conflict), path=conflict.path) from conflict
    refuse_folders(editor.spared)
    if parent is not None and tree == before:
        return parent
    parents = () if parent is None else (parent,)
    commit = compose(
        draft.reader, tree, parents, message, signed.author, signed.request_id, signed.enqueued_at
    )
    if source is None:
        return draft.commit(commit, editor.objects, bases=editor.bases)
    made = {sha: item for sha, item in editor.objects.items() if item.kind is not Kind.BLOB}
    return draft.commit(commit, made, refers_to=source)
