"""Going through all memories of a store, one after the other: begun after any of them, and gone on with later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from memrepo.cli.ending import CommandError
from memrepo.cli.interrupt import INTERRUPTED
from memrepo.errors import RepoNotFoundError, StoreUnavailableError
from memrepo.redis.address import masked
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.cli.progress import Progress
from memrepo_worker.cli.store.tools import Tools, agent_named, org_named
from memrepo_worker.git.command import GitError
from memrepo_worker.group import Agent
from memrepo_worker.inspection.memories import ListedMemory, NotListedError
from memrepo_worker.journal.entry import JournalUnreadableError
from memrepo_worker.repos.slots import CacheUnusableError
from memrepo_worker.store.identity import IDENTITY_KEY, read_identity
from memrepo_worker.store.interface import ListedObject, RefusedError, StoreError

OF_ONE = (
    JournalUnreadableError,
    GitError,
    RefusedError,
    RepoNotFoundError,
    OSError,
    CacheUnusableError,
)
"""What goes wrong with one memory; the others go on."""


@dataclass(frozen=True)
class Chosen:
    """Which memories are meant: one, or all, those of an org, those that come after one."""

    one: Agent | None
    org_id: str
    after: Agent | None

    @classmethod
    def of(
        cls, org: str | None, agent: str | None, everyone: bool, of_org: str | None, after: str | None
    ) -> Chosen:
        """Return what the arguments and options name.

        Raises:
            UsageError: they name nothing, or two things.
        """
        if everyone and org:
            raise click.UsageError(f"--all takes no ORG and AGENT: for those of an org give --org {org}.")
        if not everyone and not (org and agent):
            raise click.UsageError("Name ORG and AGENT, or give --all.")
        if not everyone and (of_org or after):
            raise click.UsageError("--org and --after go with --all.")
        if after and "/" not in after:
            raise click.UsageError("--after: must be ORG/AGENT, as in acme/agent-1.")
        one = None if everyone else agent_named(org or "", agent or "")
        org_id, _, agent_id = (after or "").partition("/")
        return cls(one, org_named(of_org) if of_org else "", agent_named(org_id, agent_id) if after else None)


@dataclass(frozen=True)
class Walk:
    """Goes through the memories of a store that have a journal."""

    tools: Tools
    chosen: Chosen
    doing: str

    def run(
        self,
        act: Callable[[ListedMemory], None],
        begin: Callable[[], None] = lambda: None,
        on_outside: Callable[[ListedObject], None] = lambda _: None,
    ) -> Progress:
        """Have ``act`` done for each, and ``begin`` before the first; what ends it says after which to go on.

        ``on_outside`` is as in ``Memories.listed``.

        Raises:
            UsageError: the memory after which to go on is not there.
            RepoNotFoundError: the org that is named has no memory.
            StoreUnavailableError: no memory is there, and nothing that says that this is a store of memrepo's at all.
            MemoryRepoError, CommandError: it was interrupted, or the store does not answer.
        """
        try:
            progress = Progress(self.doing, sum(1 for _ in self._memories()))
        except NotListedError as error:
            raise click.UsageError(f"--after: {error}") from None
        self._require_a_store(progress.total)
        if progress.total:
            begin()
        last = self.chosen.after
        for memory in self._memories(on_outside):
            with _saying_where_to_go_on(last):
                act(memory)
            last = memory.agent
            progress.step(memory.agent)
        progress.clear()
        return progress

    def _require_a_store(self, memories: int) -> None:
        """Have "nothing was found" be no good news: a volume that is not mounted shows an empty folder."""
        if memories or self.chosen.after is not None:
            return
        if read_identity(self.tools.store) is None:
            name = masked(self.tools.store.name)
            is_folder = name.startswith("file:")
            mend = "Mount the volume that is meant, or mend" if is_folder else "Mend bucket and prefix in"
            raise StoreUnavailableError(
                f"{name} has no memory, nor the object {IDENTITY_KEY} that the first worker writes: it is no store of "
                f"memrepo's yet, or another place. {mend} MEMREPO_STORE_URL"
            )
        if self.chosen.org_id:
            raise RepoNotFoundError(
                f"{self.chosen.org_id} has no memory in the store", {"org_id": self.chosen.org_id}
            )
        click.echo("0 memories", err=True)

    def _memories(
        self, on_outside: Callable[[ListedObject], None] = lambda _: None
    ) -> Iterator[ListedMemory]:
        listed = self.tools.memories.listed(
            self.chosen.org_id, after=self.chosen.after, on_outside=on_outside
        )
        return (memory for memory in listed if memory.has_journal)


@contextmanager
def _saying_where_to_go_on(last: Agent | None) -> Iterator[None]:
    hint = f"; --after {last} goes on there" if last is not None else ""
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("Interrupted", f"Interrupted{hint}.", INTERRUPTED, _details(last)) from None
    except StoreError as error:
        failure = failure_of(error)
        raise type(failure)(f"{failure.message}{hint}", _details(last)) from error


def _details(last: Agent | None) -> dict[str, str | None]:
    return {"after": str(last) if last is not None else None}
