"""What Flower, events and logs show of a result: shas, counts and bytes, never content, paths or messages."""

from __future__ import annotations

from collections.abc import Sized

from memrepo.errors import MemoryRepoError
from memrepo.models import CommitResult, Diff, MemoryFile, RequestOutcome, Snapshot
from memrepo_worker.group import Outcome


def public_summary_of(outcome: Outcome) -> str:
    """Describe an outcome in a few words."""
    if isinstance(outcome, MemoryRepoError):
        return repr(outcome)
    return _value_shape(outcome.value)


def _value_shape(value: object) -> str:
    match value:
        case None:
            return "done"
        case CommitResult():
            what = "commit" if value.created else "unchanged"
            return f"{what} {value.sha} {value.branch} {len(value.files_changed)} files"
        case Snapshot():
            return f"{value.commit_sha} {len(value)} files {sum(f.size for f in value.files.values())} bytes"
        case MemoryFile():
            return f"{value.sha} {value.size} bytes"
        case RequestOutcome():
            return f"{value.verdict} {value.sha}" if value.sha else value.verdict
        case Diff():
            return f"{value.base_sha} {value.target_sha} {len(value.files)} files"
        case str():
            return value if len(value) == 40 and value.isalnum() else "text"
    return f"{len(value)} items" if isinstance(value, Sized) else type(value).__name__
