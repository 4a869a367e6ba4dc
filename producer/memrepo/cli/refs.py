"""What the commands of branches and of tags share: they list what there is, after one was made or removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import click

from memrepo.cli.common import client, outcome_of, repo_of, sending
from memrepo.cli.ending import CONFLICT, CommandError, plain, printing_of
from memrepo.cli.output import show_json
from memrepo.cli.words import in_command_words
from memrepo.errors import InvalidRequestError
from memrepo.jobs.job import Job
from memrepo.models import Branch, Tag
from memrepo.repo import MemoryRepo

AnyRef = TypeVar("AnyRef", Branch, Tag)


@dataclass(frozen=True)
class RefKind(Generic[AnyRef]):
    """Branches or tags: what one is called, what it is when it was made, and how all are listed."""

    name: str
    made: str
    list_all: Callable[[MemoryRepo], Job[list[AnyRef]]]


def refuse_two(create: str | None, delete: str | None) -> None:
    """Raise ``click.UsageError`` where one name is to be made and another removed."""
    if create is not None and delete is not None:
        raise click.UsageError("--create and --delete are two commands: give one of them. Nothing was done.")


@dataclass(frozen=True)
class RefCommand(Generic[AnyRef]):
    """One call of such a command, by its options."""

    kind: RefKind[AnyRef]
    create: str | None
    delete: str | None
    request_id: str | None
    timeout_s: float
    as_json: bool

    def run(
        self,
        of: tuple[str, str],
        make: Callable[[MemoryRepo, str, str], Job[AnyRef]],
        remove: Callable[[MemoryRepo, str, str], Job[None]],
    ) -> None:
        """Make or remove what is named, in the memory ``of`` an org's agent, and print all.

        ``make`` and ``remove`` are called with the memory, the name and a request id.
        """
        if self.request_id is not None and self.create is None and self.delete is None:
            raise click.UsageError("--request-id is of a request: give --create or --delete with it.")
        with client() as repos:
            repo = repo_of(repos, *of)
            if self.create is not None:
                with sending(repo, self.request_id) as sent_as:
                    made = make(repo, self.create, sent_as)
                self._wait(repo, made, self.create)
            if self.delete is not None:
                with sending(repo, self.request_id) as sent_as:
                    removed = remove(repo, self.delete, sent_as)
                outcome_of(removed, self.timeout_s)
            listed = outcome_of(self.kind.list_all(repo), self.timeout_s)
        if self.create is None and self.delete is None:
            self._show(listed)
            return
        name = self.create or self.delete or ""
        done = "removed" if self.create is None else self.kind.made
        with printing_of(f"{self.kind.name.capitalize()} {name} was {done}", **{self.kind.name: name}):
            self._show(listed)

    def _wait(self, repo: MemoryRepo, made: Job[AnyRef], name: str) -> None:
        """Wait until it is made; that there is one already, elsewhere, is a conflict and no wrong usage.

        The error of a worker does not tell the two apart: it stands in ledgers, which keep the class they were given.
        """
        try:
            outcome_of(made, self.timeout_s)
        except InvalidRequestError as error:
            if all(one.name != name for one in outcome_of(self.kind.list_all(repo), self.timeout_s)):
                raise
            told = in_command_words(error, click.get_current_context())
            raise CommandError(type(told).__name__, told.message, CONFLICT, told.details) from error

    def _show(self, listed: Sequence[AnyRef]) -> None:
        if self.as_json:
            show_json(listed)
            return
        for one in listed:
            click.echo(f"{click.style(one.sha, fg='yellow')} {plain(one.name)}")
