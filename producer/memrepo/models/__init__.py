"""The values that cross the queue as results, and the parts that requests are made of.

All are frozen pydantic models with a JSON form.
"""

from memrepo.models.base import Content, ContentWriter, Model, ResultModel
from memrepo.models.changes import DEFAULT_AUTHOR, Author, AuthorType, ChangeType, FileChange, OnConflict
from memrepo.models.commits import Branch, CommitResult, MemoryCommit, RequestOutcome, Tag, Verdict
from memrepo.models.differences import Diff, FileDiff
from memrepo.models.feed import Change, ChangeFeed
from memrepo.models.files import FileInfo, Match, MemoryFile, Snapshot
from memrepo.models.memories import MemoryInfo, MemoryPage
from memrepo.models.merges import (
    ConflictKind,
    FastForward,
    Favor,
    Lines,
    MergeConflict,
    MergeHunk,
    MergeKind,
    MergePreview,
    MergeResult,
)
from memrepo.models.origins import Origin

__all__ = [
    "DEFAULT_AUTHOR",
    "Author",
    "AuthorType",
    "Branch",
    "Change",
    "ChangeFeed",
    "ChangeType",
    "CommitResult",
    "ConflictKind",
    "Content",
    "ContentWriter",
    "Diff",
    "FastForward",
    "Favor",
    "FileChange",
    "FileDiff",
    "FileInfo",
    "Lines",
    "Match",
    "MemoryCommit",
    "MemoryFile",
    "MemoryInfo",
    "MemoryPage",
    "MergeConflict",
    "MergeHunk",
    "MergeKind",
    "MergePreview",
    "MergeResult",
    "Model",
    "OnConflict",
    "Origin",
    "RequestOutcome",
    "ResultModel",
    "Snapshot",
    "Tag",
    "Verdict",
]
