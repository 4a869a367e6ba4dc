r"""memrepo: each agent's memory is a git repository, kept in object storage and served through Celery.

    from memrepo import MemoryRepos

    with MemoryRepos.from_env() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-42")
        job = repo.commit({"human.md": "likes tea\n", "old.md": None}, "learned a preference")
        print(job.result(timeout_s=10).sha)

This module is the API; what is not in ``__all__`` may change. Importing it loads neither Celery nor redis.
"""

from memrepo.aio import AsyncMemoryRepos
from memrepo.calls import Changes, MemoryRepo
from memrepo.client import MemoryRepos
from memrepo.errors import (
    BrokerUnavailableError,
    ContentMovedError,
    HeadMovedError,
    InvalidRequestError,
    JobCancelledError,
    JobTimeoutError,
    MemoryRepoBusyError,
    MemoryRepoError,
    PathNotFoundError,
    RefNotFoundError,
    RepoExistsError,
    RepoNotAdoptedError,
    RepoNotFoundError,
    RequestExpiredError,
    ResultExpiredError,
    StoreUnavailableError,
    TooLargeError,
)
from memrepo.job import Job
from memrepo.job_state import JobState
from memrepo.limits import Limits
from memrepo.meta import Status
from memrepo.models import (
    Author,
    Branch,
    CommitResult,
    Diff,
    FileChange,
    FileDiff,
    FileInfo,
    MemoryCommit,
    MemoryFile,
    RequestOutcome,
    Snapshot,
)
from memrepo.settings import Settings

__all__ = [
    "AsyncMemoryRepos",
    "Author",
    "Branch",
    "BrokerUnavailableError",
    "Changes",
    "CommitResult",
    "ContentMovedError",
    "Diff",
    "FileChange",
    "FileDiff",
    "FileInfo",
    "HeadMovedError",
    "InvalidRequestError",
    "Job",
    "JobCancelledError",
    "JobState",
    "JobTimeoutError",
    "Limits",
    "MemoryCommit",
    "MemoryFile",
    "MemoryRepo",
    "MemoryRepoBusyError",
    "MemoryRepoError",
    "MemoryRepos",
    "PathNotFoundError",
    "RefNotFoundError",
    "RepoExistsError",
    "RepoNotAdoptedError",
    "RepoNotFoundError",
    "RequestExpiredError",
    "RequestOutcome",
    "ResultExpiredError",
    "Settings",
    "Snapshot",
    "Status",
    "StoreUnavailableError",
    "TooLargeError",
]
