r"""memrepo: each agent's memory is a git repository, kept in object storage and served through Celery.

    from memrepo import MemoryRepos

    with MemoryRepos.from_env() as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-42")
        job = repo.commit({"human.md": "likes tea\n", "old.md": None}, "learned a preference")
        print(job.result(timeout_s=10).sha)

This module is the API; what is not in ``__all__`` may change. Importing it loads nothing, the first use of a name
loads the API, and neither loads Celery or redis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "AsyncMemoryRepos",
    "Author",
    "AuthorType",
    "Branch",
    "BrokerUnavailableError",
    "Change",
    "ChangeFeed",
    "ChangeType",
    "Changes",
    "CommitResult",
    "ConflictKind",
    "ContentMovedError",
    "Diff",
    "Edit",
    "FastForward",
    "Favor",
    "FileChange",
    "FileDiff",
    "FileInfo",
    "Files",
    "HeadMovedError",
    "InvalidRequestError",
    "Job",
    "JobCancelledError",
    "JobState",
    "JobTimeoutError",
    "Limits",
    "Lines",
    "Match",
    "MemoryCommit",
    "MemoryDamagedError",
    "MemoryFile",
    "MemoryInfo",
    "MemoryPage",
    "MemoryRepo",
    "MemoryRepoBusyError",
    "MemoryRepoError",
    "MemoryRepos",
    "MergeConflict",
    "MergeConflictError",
    "MergeHunk",
    "MergeKind",
    "MergePreview",
    "MergeResult",
    "OnConflict",
    "Origin",
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
    "Tag",
    "TooLargeError",
    "Verdict",
    "Watch",
    "WorkerFaultError",
    "WorkerOutdatedError",
    "append",
    "insert",
    "move",
    "replace",
]

if TYPE_CHECKING:
    from memrepo.async_client import AsyncMemoryRepos
    from memrepo.client import MemoryRepos
    from memrepo.errors import (
        BrokerUnavailableError,
        ContentMovedError,
        HeadMovedError,
        InvalidRequestError,
        JobCancelledError,
        JobTimeoutError,
        MemoryDamagedError,
        MemoryRepoBusyError,
        MemoryRepoError,
        MergeConflictError,
        PathNotFoundError,
        RefNotFoundError,
        RepoExistsError,
        RepoNotAdoptedError,
        RepoNotFoundError,
        RequestExpiredError,
        ResultExpiredError,
        StoreUnavailableError,
        TooLargeError,
        WorkerFaultError,
        WorkerOutdatedError,
    )
    from memrepo.jobs.job import Job
    from memrepo.jobs.state import JobState
    from memrepo.limits import Limits
    from memrepo.models import (
        Author,
        AuthorType,
        Branch,
        Change,
        ChangeFeed,
        ChangeType,
        CommitResult,
        ConflictKind,
        Diff,
        FastForward,
        Favor,
        FileChange,
        FileDiff,
        FileInfo,
        Lines,
        Match,
        MemoryCommit,
        MemoryFile,
        MemoryInfo,
        MemoryPage,
        MergeConflict,
        MergeHunk,
        MergeKind,
        MergePreview,
        MergeResult,
        OnConflict,
        Origin,
        RequestOutcome,
        Snapshot,
        Tag,
        Verdict,
    )
    from memrepo.repo import Changes, Files, MemoryRepo
    from memrepo.repo.watch import Watch
    from memrepo.settings import Settings
    from memrepo.wire.record import Status
    from memrepo.wire.requests.edits import Edit, append, insert, move, replace
else:
    # The command line comes in through here, too: it shows its help, and hears Ctrl+C, before it has loaded the API.

    def __getattr__(name):  # noqa: ANN001, ANN202 - type checkers read the imports above
        """Load the API when one of its names is used for the first time."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - only when something is used

        for module in (
            "errors",
            "limits",
            "settings",
            "models",
            "wire.record",
            "wire.requests.edits",
            "jobs.state",
            "jobs.job",
            "repo",
            "repo.watch",
            "client",
            "async_client",
        ):
            try:
                loaded = vars(import_module(f"{__name__}.{module}"))
            except (
                AttributeError
            ) as error:  # Python would take it for a name that is not there, and say no more
                raise ImportError(f"{__name__}.{module} cannot be loaded: {error}") from error
            globals().update({public: loaded[public] for public in __all__ if public in loaded})
        return globals()[name]

    def __dir__():  # noqa: ANN202 - as above
        """List the API, loaded or not."""
        return sorted({*globals(), *__all__})
