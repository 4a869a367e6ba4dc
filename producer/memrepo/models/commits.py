"""Commits, what became of requests that make them, and the branches that lead to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from memrepo.errors import MemoryRepoError, from_wire
from memrepo.models.base import ResultModel
from memrepo.models.changes import AuthorType

Verdict = Literal["committed", "unchanged", "done", "deleted", "failed"]


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
    the memory itself, is never new. ``rebased_from`` is the head that the caller had expected, where ``on_conflict``
    brought the commit to a later one.
    """

    branch: str
    created: bool
    new_branch: bool = False
    rebased_from: str | None = None


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


class Tag(ResultModel):
    """A tag and the commit that it leads to.

    ``ref`` is its full name, which names it also where a branch has the same ``name``.
    """

    name: str
    ref: str
    sha: str


class Branch(ResultModel):
    """A branch and the commit that it points to."""

    name: str
    sha: str
