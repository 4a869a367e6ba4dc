"""The requests that cross the queue: one model each, which checks shape; ``check`` checks values.

``digest`` covers everything that the caller asked for and no time, so that the same id with another body is
noticed.
"""

from memrepo.wire.requests.base import HEAD_FIELDS, Head, Request
from memrepo.wire.requests.paths import LIST_LIMIT_MAX
from memrepo.wire.requests.reads import (
    HISTORY_LIMIT_MAX,
    DiffRequest,
    FindRequestRequest,
    GetFileRequest,
    GetFilesRequest,
    GetHeadShaRequest,
    GetHistoryRequest,
    ListBranchesRequest,
    ListFilesRequest,
)
from memrepo.wire.requests.writes import (
    CommitRequest,
    CreateBranchRequest,
    CreateRepoRequest,
    DeleteBranchRequest,
    DeleteRepoRequest,
    RestoreRequest,
)

__all__ = [
    "HEAD_FIELDS",
    "HISTORY_LIMIT_MAX",
    "LIST_LIMIT_MAX",
    "CommitRequest",
    "CreateBranchRequest",
    "CreateRepoRequest",
    "DeleteBranchRequest",
    "DeleteRepoRequest",
    "DiffRequest",
    "FindRequestRequest",
    "GetFileRequest",
    "GetFilesRequest",
    "GetHeadShaRequest",
    "GetHistoryRequest",
    "Head",
    "ListBranchesRequest",
    "ListFilesRequest",
    "Request",
    "RestoreRequest",
]
