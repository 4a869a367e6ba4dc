"""The values that cross the queue as results, and the parts that requests are made of.

All are frozen pydantic models with a JSON form.
"""

from memrepo.models.base import Content, ContentWriter, Model, ResultModel
from memrepo.models.changes import DEFAULT_AUTHOR, Author, AuthorType, ChangeType, FileChange
from memrepo.models.commits import Branch, CommitResult, MemoryCommit, RequestOutcome, Verdict
from memrepo.models.differences import Diff, FileDiff
from memrepo.models.files import FileInfo, Match, MemoryFile, Snapshot

__all__ = [
    "DEFAULT_AUTHOR",
    "Author",
    "AuthorType",
    "Branch",
    "ChangeType",
    "CommitResult",
    "Content",
    "ContentWriter",
    "Diff",
    "FileChange",
    "FileDiff",
    "FileInfo",
    "Match",
    "MemoryCommit",
    "MemoryFile",
    "Model",
    "RequestOutcome",
    "ResultModel",
    "Snapshot",
    "Verdict",
]
