"""Export and import: an agent's whole memory as one stock git bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from memrepo.clock import Clock
from memrepo.errors import InvalidRequestError, RepoExistsError, RepoNotFoundError
from memrepo.limits import KIB, Limits
from memrepo_worker.git.bundles import HEADER_BYTES_MAX, Bundle, NotABundleError, decode_bundle
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.git.objects import NULL_SHA, printable
from memrepo_worker.group import Agent
from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.entry import HEAD_BRANCH
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import DONE, LedgerLine
from memrepo_worker.journal.reading.found import Opening
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.refs import REFS_MAX, RefNames
from memrepo_worker.migration.claims import claims_of
from memrepo_worker.migration.contents import Contents, RefusedNames, look_at
from memrepo_worker.migration.pack_repository import (
    entry_of,
    opened,
    require_clean,
    restored,
    scratch_repository,
    set_refs,
    verify,
)
from memrepo_worker.store.interface import Store

_DIGEST = "0" * 32
_REF_KINDS = ("refs/heads/", "refs/tags/")


@dataclass(frozen=True)
class Transfer:
    """Moves whole memories between a store and files."""

    store: Store
    git: Git
    executor: Executor
    clock: Clock
    limits: Limits

    def export(self, agent: Agent, file: Path) -> int:
        """Write an agent's memory to a bundle that ``git clone`` takes; return its size in bytes.

        Raises:
            RepoNotFoundError: there is none.
        """
        with self._restored(agent) as repo:
            self.git.run(
                ["bundle", "create", "--quiet", str(file), "HEAD", "--branches", "--tags"], repo=repo
            )
        return file.stat().st_size

    def verify(self, agent: Agent) -> int:
        """Open an agent's journal as a worker does, and have stock git check it; return the number of its commits.

        Raises:
            RepoNotFoundError: there is none.
            JournalDamagedError, GitError: something is wrong; the message says what.
        """
        with opened(self.git, self._opening(agent)) as repo:
            verify(self.git, repo)
            return int(self.git.run(["rev-list", "--count", "--all"], repo=repo))

    @contextmanager
    def _restored(self, agent: Agent) -> Iterator[Path]:
        """Yield a repository with everything that the journal holds."""
        with restored(self.git, self._opening(agent)) as repo:
            yield repo

    def _opening(self, agent: Agent) -> Opening:
        opening = self._journal(agent).open()
        if not opening.refs:
            raise RepoNotFoundError(
                f"{agent} has no memory", {"org_id": agent.org_id, "agent_id": agent.agent_id}
            )
        return opening

    def import_(
        self,
        agent: Agent,
        file: Path,
        tell: Callable[[Sequence[RefusedNames]], None] = lambda _: None,
        *,
        allow_over_limits: bool = False,
        trust_claims: bool = False,
    ) -> int:
        """Begin an agent's memory from a bundle, which need not be trusted; return the number of its commits.

        ``tell`` hears of what was taken over a limit, where that is allowed, and of names that a stricter setting would
        refuse. ``trust_claims`` takes commits that say to be memrepo's own: their request ids and kinds of author are
        believed like those of commits that were made here.

        Raises:
            RepoExistsError: the agent has a memory already.
            InvalidRequestError: the file is no whole bundle, git finds fault with it, or it holds what memrepo does
                not keep (links, submodules, paths that some system cannot check out); the message says which.
        """
        journal = self._journal(agent)
        opening = journal.open()
        if opening.refs or journal.has_legacy_layout():
            raise RepoExistsError(f"{agent} has a memory already", {"agent_id": agent.agent_id})
        require_clean(self.store, self._layout(agent), opening, self.executor)
        git = self.git.for_foreign(_size_of(file, self.git))
        with scratch_repository(git) as repo:
            try:
                refs = self._unpack(repo, file)
                verify(git, repo)
                commits = git.run(["rev-list", "--all"], repo=repo).decode().split()
                contents = look_at(git, repo, self.limits)
                _require_names(contents, allow_over_limits=allow_over_limits)
                if not trust_claims:
                    _refuse_claims(git, repo)
                data = entry_of(git, repo, refs, self._line(opening.seq))
            except (GitError, NotABundleError, ValueError) as error:
                raise InvalidRequestError.of(
                    "file", f"is not a bundle that can be imported: {error}"
                ) from error
        if append(self.store, self._layout(agent).entry(opening.seq + 1), data) is Append.LOST:
            raise RepoExistsError(
                f"{agent} was begun by somebody else meanwhile", {"agent_id": agent.agent_id}
            )
        tell((*contents.over_limits, *contents.refused_elsewhere))
        return len(commits)

    def _unpack(self, repo: Path, file: Path) -> dict[str, str]:
        """Put a bundle's objects and refs into an empty repository; return the refs.

        Its header is looked at before the rest is read.
        """
        with file.open("rb") as reading:
            bundle = decode_bundle(reading.read(HEADER_BYTES_MAX + KIB))
            refs = _refs_of(bundle)
            pack = b"".join([bundle.pack, reading.read()])
        self.git.index_foreign_pack(repo, pack)
        set_refs(self.git, repo, refs)
        return refs

    def _line(self, seq: int) -> LedgerLine:
        return LedgerLine(f"import-after-entry-{seq}", _DIGEST, DONE, self.clock(), NULL_SHA)

    def _journal(self, agent: Agent) -> JournalReader:
        most = self.git.caps.entry_bytes_max
        return JournalReader(self.store, self._layout(agent), self.executor, entry_bytes_max=most)

    def _layout(self, agent: Agent) -> Layout:
        return Layout.of(agent.org_id, agent.agent_id)


def _refs_of(bundle: Bundle) -> dict[str, str]:
    """Return the branches and tags of a bundle, which must hold all that they need."""
    if bundle.prerequisites:
        raise NotABundleError("it needs commits that it does not hold: make it with --all")
    refs = {name: sha for name, sha in bundle.refs.items() if name.startswith(_REF_KINDS)}
    if HEAD_BRANCH not in refs:
        if "HEAD" not in bundle.refs:
            raise NotABundleError("it has neither a branch main nor HEAD")
        refs[HEAD_BRANCH] = bundle.refs["HEAD"]
    _check_names(refs)
    return refs


def _check_names(refs: Mapping[str, str]) -> None:
    if len(refs) > REFS_MAX:
        raise ValueError(f"it has {len(refs)} branches and tags, over {REFS_MAX}")
    beside = RefNames()
    for name in refs:
        fault = beside.add(name)
        if fault is not None:
            raise InvalidRequestError.of("file", f"holds {printable(name)!r}, which {fault}")


def _size_of(file: Path, git: Git) -> int:
    """Return how large a bundle is, if it is no larger than what git may unpack."""
    size, most = file.stat().st_size, git.caps.unpacked_bytes_max
    if size > most:
        raise InvalidRequestError.of(
            "file", f"is {size} bytes, over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX ({most})"
        )
    return size


def _require_names(contents: Contents, *, allow_over_limits: bool) -> None:
    for found in contents.refused:
        raise InvalidRequestError.of("file", f"holds {found}", path=found.first)
    if contents.over_limits and not allow_over_limits:
        every = "; ".join(map(str, contents.over_limits))
        raise InvalidRequestError.of("file", f"holds {every}: --allow-over-limits takes all of it")
    if contents.no_file is not None:
        raise ValueError(f"{contents.no_file!r} is a link or a submodule, which memrepo does not keep")


def _refuse_claims(git: Git, repo: Path) -> None:
    """Refuse commits that say that memrepo made them: which request, and what kind of author."""
    claims = claims_of(git, repo)
    if claims:
        raise InvalidRequestError.of(
            "file",
            f"holds {claims} commits that say that memrepo made them, by which request and for what kind of author: "
            "if whoever made the bundle may say that, --trust-claims takes it",
        )
