"""Adoption: a repository in the legacy layout becomes an entry of a journal, its history and shas unchanged.

Stock git checks everything before anything is written. The old files stay until somebody removes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memrepo.clock import Clock
from memrepo.errors import RepoNotFoundError
from memrepo.limits import Limits
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.git.objects import NULL_SHA
from memrepo_worker.group import Agent
from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import DONE, LedgerLine
from memrepo_worker.journal.reading.found import Opening
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.refs import REFS_MAX
from memrepo_worker.migration.claims import claims_of
from memrepo_worker.migration.contents import RefusedNames, look_at, require_unpacked
from memrepo_worker.migration.legacy import LegacyLayoutError, download, read_refs, settle_refs
from memrepo_worker.migration.pack_repository import (
    entry_of,
    require_clean,
    restored,
    scratch_repository,
    set_refs,
    verify,
)
from memrepo_worker.store.interface import Store

_DIGEST = "0" * 32


@dataclass(frozen=True)
class Adoption:
    """What became of one agent. ``recovered`` maps branches to the number of commits that came back with them.

    ``refused_names`` are in the history and stay readable, but commits with such names are refused. Of branches and
    tags whose names are refused, it says which ref leads there instead.
    """

    agent: Agent
    commits: int = 0
    branches: int = 0
    bytes_read: int = 0
    recovered: Mapping[str, int] = field(default_factory=dict)
    already: bool = False
    refused_names: tuple[RefusedNames, ...] = ()


@dataclass(frozen=True)
class Adopter:
    """Adopts repositories of one store."""

    store: Store
    git: Git
    executor: Executor
    clock: Clock
    limits: Limits = field(default_factory=Limits)

    def agents(self) -> Iterator[Agent]:
        """Yield every agent that has a repository in the legacy layout, adopted or not, by one listing of the store."""
        for item in self.store.list(""):
            org_id, _, rest = item.key.partition("/")
            agent_id, _, name = rest.partition("/")
            if name == "repo.git/HEAD":
                yield Agent(org_id, agent_id)

    def adopt(self, agent: Agent, *, trust_claims: bool = False) -> Adoption:
        """Adopt one agent, also one whose journal's last repository was deleted; done again, it says that it was done.

        ``trust_claims`` takes commits that say to be memrepo's own, as ``Transfer.import_`` does.

        Raises:
            RepoNotFoundError: there is nothing to adopt.
            LegacyLayoutError: it cannot be adopted as it is, and was left untouched; the message says what is wrong.
            RepoExistsError: its journal's last repository is still being deleted.
            UnavailableError, RefusedError: call again.
        """
        layout = Layout.of(agent.org_id, agent.agent_id)
        while True:
            journal = self._journal(layout)
            opening = journal.open()
            if opening.refs:
                self._require_taken(agent, layout, opening)
                return Adoption(agent, already=True)
            if not journal.has_legacy_layout():
                raise RepoNotFoundError(
                    f"{agent} has no repository in the layout of a Letta server",
                    {"org_id": agent.org_id, "agent_id": agent.agent_id},
                )
            require_clean(self.store, layout, opening, self.executor)
            data, adoption = self._taken_over(agent, layout, opening.seq, trust_claims=trust_claims)
            if append(self.store, layout.entry(opening.seq + 1), data) is Append.DONE:
                return adoption

    def remove_old_files(self, agent: Agent) -> int:
        """Remove the old files of an agent that was adopted; return how many there were.

        Raises:
            LegacyLayoutError: they hold commits that the journal does not; nothing was removed.
        """
        layout = Layout.of(agent.org_id, agent.agent_id)
        opening = self._journal(layout).open()
        if not opening.refs:
            raise LegacyLayoutError(f"{agent} was not adopted yet: its old files are all there is")
        self._require_taken(agent, layout, opening)
        keys = [item.key for item in self.store.list(layout.prefix) if layout.is_foreign(item.key)]
        self.store.delete(keys)
        return len(keys)

    def _taken_over(
        self, agent: Agent, layout: Layout, seq: int, *, trust_claims: bool
    ) -> tuple[bytes, Adoption]:
        """Return the entry that holds the whole old repository, and what is told of it."""
        with scratch_repository(self.git) as repo:
            legacy, bytes_read = download(
                self.store, layout, repo, self.executor, self.git.caps.unpacked_bytes_max
            )
            git = self.git.for_foreign(bytes_read)
            try:
                require_unpacked(git, repo)
                settled = settle_refs(git, repo, legacy)
                refs = settled.refs
                if len(refs) > REFS_MAX:
                    raise LegacyLayoutError(
                        f"{agent} has {len(refs)} branches and lost tips, over {REFS_MAX}"
                    )
                set_refs(git, repo, refs)
                verify(git, repo)
                if not trust_claims and (claims := claims_of(git, repo)):
                    raise LegacyLayoutError(
                        f"{agent} has {claims} commits that say that memrepo made them, by which request and for "
                        "what kind of author: if whoever wrote there may say that, --trust-claims takes it"
                    )
                commits = int(git.run(["rev-list", "--count", "--all"], repo=repo))
                contents = look_at(git, repo, self.limits)
                data = entry_of(git, repo, refs, self._line(seq))
            except GitError as error:
                raise LegacyLayoutError(f"{agent} cannot be adopted: {error}") from error
        refused = (
            *settled.refused,
            *contents.refused,
            *contents.over_limits,
            *contents.refused_elsewhere,
        )
        return data, Adoption(agent, commits, len(refs), bytes_read, settled.recovered, refused_names=refused)

    def _journal(self, layout: Layout) -> JournalReader:
        most = self.git.caps.entry_bytes_max
        return JournalReader(self.store, layout, self.executor, entry_bytes_max=most)

    def _require_taken(self, agent: Agent, layout: Layout, opening: Opening) -> None:
        """Raise ``LegacyLayoutError`` if the old refs lead to a commit that the journal does not have."""
        tips = read_refs(self.store, layout, self.executor).tips
        untold = tips - {sha for entry in opening.all for sha in entry.refs.values()}
        if not untold:
            return
        with restored(self.git, opening) as repo:
            asked = "".join(f"{sha}\n" for sha in sorted(untold)).encode()
            told = self.git.run(["cat-file", "--batch-check"], repo=repo, stdin=asked).decode()
        lacking = [line.split()[0] for line in told.splitlines() if line.endswith(" missing")]
        if lacking:
            raise LegacyLayoutError(
                f"{agent} was adopted before, and its old server committed after that ({', '.join(lacking)}): nothing "
                f"was changed or removed. Stop that server, copy {layout.prefix} to the prefix of another agent "
                "without its journal/, and adopt that one"
            )

    def _line(self, seq: int) -> LedgerLine:
        return LedgerLine(f"adoption-after-entry-{seq}", _DIGEST, DONE, self.clock(), NULL_SHA)
