"""Sending a history through the queue, commit by commit, without waiting for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memrepo.calls import MemoryRepo
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.limits import MIB, Limits
from memrepo.models import Author, CommitResult, FileChange
from memrepo.validation import check_ident
from memrepo_worker.replay.plan import Part, Plan
from memrepo_worker.replay.source import SourceCommit, SourceRepository
from memrepo_worker.replay.window import JobFailedError, Sent, Window

_Tag = tuple[SourceCommit, bool]
"""Which commit of the original a request is for, and whether it is the last for it."""

WINDOW = Window(jobs_max=200, bytes_max=64 * MIB, timeout_s=120)


@dataclass(frozen=True)
class Sender:
    """Sends a history to one agent's memory, which must not exist yet."""

    repo: MemoryRepo
    source: SourceRepository
    plan: Plan

    def send(self, history: Sequence[SourceCommit]) -> Iterator[str]:
        """Yield, as results arrive, the sha that each commit of the history has become.

        Raises:
            MemoryRepoError: a commit was refused or not sent; the message names it. What was sent before it, and
                what was under way after it, may have been applied.
        """
        try:
            for (_, completes), result in WINDOW.results(self._jobs(history)):
                if completes:
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
        """Send one request after the other."""
        for commit in history:
            parts = self.plan.advance(commit)
            for number, part in enumerate(parts, start=1):
                tag = (commit, number == len(parts))
                try:
                    job = self.repo.commit(
                        self._changes(part),
                        message_of(commit, number, len(parts), self.plan.limits),
                        author=author_of(commit),
                        create_repo_if_missing=True,
                    )
                except MemoryRepoError as error:
                    raise JobFailedError(tag, error) from error
                yield Sent(job, sum(change.size for change in part), tag)

    def _changes(self, part: Part) -> list[FileChange]:
        return [
            FileChange(path=change.path)
            if change.entry is None
            else FileChange(
                path=change.path,
                content=self.source.blob(change.entry.sha),
                executable=change.entry.executable,
            )
            for change in part
        ]


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
