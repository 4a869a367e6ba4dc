"""What is left of a request: its line in the ledger or, when that is forgotten, its commit in the history."""

from __future__ import annotations

from collections.abc import Mapping

from memrepo.errors import RequestExpiredError
from memrepo.models import MemoryCommit, RequestOutcome, Verdict
from memrepo_worker.git.objects import NULL_SHA
from memrepo_worker.git.walk import ancestors
from memrepo_worker.journal.ledger import COMMITTED, DELETED, DONE, UNCHANGED, LedgerLine
from memrepo_worker.repos.draft import View
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.commits import describe, request_id_of
from memrepo_worker.service.refs import tips
from memrepo_worker.service.results import describe_if_present

_SUCCESSES: Mapping[str, Verdict] = {
    COMMITTED: "committed",
    UNCHANGED: "unchanged",
    DONE: "done",
    DELETED: "deleted",
}


def find_outcome(request_id: str, view: View, repo: WarmRepo) -> RequestOutcome | None:
    """Return what became of a request, as the view found it; None when there is no trace of it."""
    line = view.line
    # That a request came too late says nothing of an earlier attempt, whose line may be forgotten.
    if line is None or isinstance(line.error, RequestExpiredError):
        made = _commit_of(request_id, view, repo)
        if made is not None:
            return RequestOutcome(request_id=request_id, verdict="committed", sha=made.sha, commit=made)
    return None if line is None else _told_by(line, repo)


def _commit_of(request_id: str, view: View, repo: WarmRepo) -> MemoryCommit | None:
    """Look for a request's commit in the history of all branches and tags."""
    for sha, commit in ancestors(repo.reader, *tips(view, repo.reader)):
        if request_id_of(commit) == request_id:
            return describe(repo, sha)
    return None


def _told_by(line: LedgerLine, repo: WarmRepo) -> RequestOutcome:
    error = line.error
    sha = None if line.sha == NULL_SHA else line.sha
    return RequestOutcome(
        request_id=line.request_id,
        verdict=_SUCCESSES.get(line.verdict, "failed"),
        sha=sha,
        commit=None if sha is None else describe_if_present(sha, repo),
        error_type=None if error is None else type(error).__name__,
        error_message=None if error is None else error.message,
        error_details=None if error is None else error.details,
    )
