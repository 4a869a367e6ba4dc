"""Answers that are composed while the entry that they speak of is on its way to the store.

The put waits for its server longer than it takes to say what it will have done. None of it is told, nor kept, before
the create has succeeded; where another writer took the number, all of it is thrown away with the draft.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from memrepo.clock import Clock
from memrepo.limits import KIB
from memrepo.wire.operations import operation_of
from memrepo.wire.requests.base import Request
from memrepo_worker.git.compare import Comparison, LargePair, compare_in_process
from memrepo_worker.git.objects import TreeEntry
from memrepo_worker.git.reader import Reader
from memrepo_worker.group import Group, Success
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.draft import Ahead, Draft
from memrepo_worker.repos.line_counts import Counts
from memrepo_worker.repos.state import RepoState
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.service.results import result_of

logger = logging.getLogger(__name__)

WRITTEN_BYTES_MAX = 64 * KIB
"""Up to this size an answer is kept as JSON beside its value."""

WORK_S_MAX = 0.05
"""How long the answers of one entry may be composed meanwhile: what is left is composed after it."""

TELL_S_MAX = 0.1
"""So soon after they were written they are told as they are: they say when that was."""


class _NotNowError(Exception):
    """This takes a process, which is for what is published alone, or long."""


class _NewCounts:
    """Line counts of commits that are not published yet, beside those of the repository."""

    def __init__(self, repo: WarmRepo) -> None:
        self._kept = repo.line_counts
        self.new: dict[str, Counts] = {}

    def find(self, sha: str) -> Counts | None:
        return self.new.get(sha) or self._kept.find(sha)

    def keep(self, sha: str, counts: Counts) -> None:
        self.new[sha] = counts


class _Upcoming:
    """What a warm repository will be when a draft is published, as far as it takes to describe its commits."""

    def __init__(self, repo: WarmRepo, draft: Draft) -> None:
        self.state: RepoState = repo.state
        self.reader: Reader = draft.reader
        self.line_counts = _NewCounts(repo)

    def compare(self, old: TreeEntry | None, new: TreeEntry | None, *, patch: bool = True) -> Comparison:
        found = compare_in_process(self.reader, old, new, patch=patch)
        if isinstance(found, LargePair):
            raise _NotNowError
        return found


class Prepared:
    """The answers of one draft, as many as were composed while it was put."""

    def __init__(self, repo: WarmRepo, draft: Draft, monotonic: Clock) -> None:
        self._repo = repo
        self._draft = draft
        self._upcoming = _Upcoming(repo, draft)
        self._monotonic = monotonic
        self._answers: dict[int, tuple[LedgerLine, Success]] = {}
        self._tell: Callable[[], None] | None = None
        self._written_s = 0.0
        self.told: list[Success] | None = None
        """What all requests of the group were answered with, where they were."""
        self.ahead: Ahead | None = None
        """The draft of what follows, as far as it was made meanwhile."""

    def compose(self, group: Group, pending: Sequence[object]) -> None:
        """Compose what the writes of a group will be answered with, and have it written. Never raises."""
        if self._draft.copied is not None:
            return  # what was copied cannot be read before it is there
        until_s = self._monotonic() + WORK_S_MAX
        try:
            for request, line in zip(group.requests, pending, strict=False):
                if isinstance(line, LedgerLine) and line.error is None:
                    self._compose(request, line)
                if self._monotonic() > until_s:
                    break
            # A delete is answered when its bytes are gone.
            if self._draft.refs and len(self._answers) == len(group.requests):
                self._tell, self._written_s = group.prepare_answers(self._composed), self._monotonic()
        except Exception as error:  # noqa: BLE001 - composed again after the create, it is told as it is told then
            logger.debug("answers were not composed meanwhile: %s", type(error).__name__)

    def _compose(self, request: Request, line: LedgerLine) -> None:
        try:
            value = result_of(request, line, self._upcoming)
        except _NotNowError:
            return
        payload = operation_of(request).result_to_payload(value)
        kept = payload if payload.size_bytes <= WRITTEN_BYTES_MAX else None
        self._answers[id(line)] = (line, Success(value, kept))

    @property
    def _composed(self) -> list[Success]:
        return [answer for _, answer in self._answers.values()]

    def tell(self) -> None:
        """Answer all requests of the group, now that the create has succeeded; nothing where some were not composed."""
        if self._tell is not None and self._monotonic() - self._written_s <= TELL_S_MAX:
            self._tell()
            self.told = self._composed

    def publish(self) -> None:
        """Have the repository keep what was found out, now that it has the commits; so what stands on them, too."""
        if self.ahead is not None:
            self._repo.ahead = self.ahead.on(self._repo.state)
        for sha, counts in self._upcoming.line_counts.new.items():
            self._repo.line_counts.keep(sha, counts)

    def find(self, line: LedgerLine) -> Success | None:
        """Return the answer that stands for a line of the draft, if it was composed."""
        found = self._answers.get(id(line))  # the line itself is kept, so its id is no other's
        return None if found is None else found[1]
