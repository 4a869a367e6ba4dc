"""Sending a history through the queue, commit by commit, without waiting for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.limits import MIB, Limits
from memrepo.models import Author, CommitResult, FileChange
from memrepo.repo import MemoryRepo
from memrepo.validation.values import check_ident
from memrepo_worker.replay.plan import Part, Plan, PlannedChange
from memrepo_worker.replay.source import SourceCommit, SourceRepository
from memrepo_worker.replay.window import JobFailedError, Sent, Window

_Tag = tuple[SourceCommit, bool]
"""Which commit of the original a request is for, and whether it is the last for it."""

WINDOW = Window(jobs_max=200, bytes_max=64 * MIB, timeout_s=120)


_BATCH_MAX = 100
_BATCH_BYTES_MAX = 8 * MIB


@dataclass(frozen=True)
class Sender:
    """Sends a history to one agent's memory, which must not exist yet."""

    repo: MemoryRepo
    source: SourceRepository
    plan: Plan
    without_commit: list[str] = field(default_factory=list)
    """The commits of the original that made none here: they changed nothing that memrepo keeps."""

    def send(self, history: Sequence[SourceCommit]) -> Iterator[str]:
        """Yield, as results arrive, the sha that each commit of the history has become.

        Raises:
            MemoryRepoError: a commit was refused or not sent; the message names it. What was sent before it, and
                what was under way after it, may have been applied.
        """
        made = False
        try:
            for (commit, completes), result in WINDOW.results(self._jobs(history)):
                made = made or result.created
                if completes:
                    if not made:
                        self.without_commit.append(commit.sha)
                    made = False
                    yield result.sha
        except JobFailedError as failed:
            (commit, _), cause = failed.tag, failed.cause
            agent = f"{self.repo.org_id} {self.repo.agent_id}"
            raise type(cause)(
                f"commit {commit.sha} of the original was not taken: {cause.message.rstrip('.')}. "
                f"What was sent before it stays: to begin anew, run memrepo delete {agent}",
                {**cause.details, "commit": commit.sha},
            ) from cause

    def _jobs(self, history: Sequence[SourceCommit]) -> Iterator[Sent[CommitResult, _Tag]]:
        """Send one request after the other; the files of many are read at once."""
        for batch in self._batches(history):
            blobs = self.source.blobs({sha for request in batch for sha in request.blobs})
            for request in batch:
                try:
                    job = self.repo.commit(
                        [change_of(change, blobs) for change in request.part],
                        message_of(request.commit, request.number, request.parts, self.plan.limits),
                        author=author_of(request.commit),
                        create_repo_if_missing=True,
                    )
                except MemoryRepoError as error:
                    raise JobFailedError(request.tag, error) from error
                yield Sent(job, request.size, request.tag)

    def _batches(self, history: Sequence[SourceCommit]) -> Iterator[list[_Planned]]:
        """Plan the requests, and yield them in groups of which the files fit into memory."""
        batch: list[_Planned] = []
        for commit in history:
            parts = self.plan.advance(commit)
            for number, part in enumerate(parts, start=1):
                batch.append(_Planned(commit, part, number, len(parts)))
                if len(batch) == _BATCH_MAX or sum(each.size for each in batch) > _BATCH_BYTES_MAX:
                    yield batch
                    batch = []
        yield batch


@dataclass(frozen=True, slots=True)
class _Planned:
    """One request to be: a part of a commit."""

    commit: SourceCommit
    part: Part
    number: int
    parts: int

    @property
    def tag(self) -> _Tag:
        return self.commit, self.number == self.parts

    @property
    def size(self) -> int:
        """How many bytes of files it carries."""
        return sum(change.size for change in self.part)

    @property
    def blobs(self) -> list[str]:
        """The files that it carries, by id."""
        return [change.entry.sha for change in self.part if change.entry is not None]


def change_of(change: PlannedChange, blobs: Mapping[str, bytes]) -> FileChange:
    """Return a change as it is sent."""
    if change.entry is None:
        return FileChange(path=change.path)
    return FileChange(path=change.path, content=blobs[change.entry.sha], executable=change.entry.executable)


def message_of(commit: SourceCommit, part: int, parts: int, limits: Limits) -> str:
    """Return the commit's message as memrepo takes it; each request of a split commit says which part it is."""
    text = commit.message.strip() or "(no message)"
    if parts > 1:
        subject, newline, body = text.partition("\n")
        text = f"{subject} (part {part} of {parts}){newline}{body}"
    return text.encode()[: limits.message_bytes_max].decode(errors="ignore")


def author_of(commit: SourceCommit) -> Author:
    """Return the commit's author, as far as memrepo takes names and addresses like that."""
    return Author(
        name=_ident(commit.author_name, "unknown"),
        email=_ident(commit.author_email, "unknown@localhost"),
        type="user",
    )


def _ident(text: str, otherwise: str) -> str:
    try:
        return check_ident(text.strip(), "author")
    except InvalidRequestError:
        return otherwise
