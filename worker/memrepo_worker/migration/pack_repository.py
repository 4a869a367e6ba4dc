"""A whole repository as one entry: how histories that began elsewhere enter a journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from memrepo.errors import RepoExistsError
from memrepo_worker.git.bundles import encode_bundle
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, join_packs
from memrepo_worker.journal.entry import HEAD_BRANCH, LEDGER_REF
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine, encode_lines
from memrepo_worker.journal.reading.found import Opening
from memrepo_worker.journal.seal import clean
from memrepo_worker.repos.trust import WarmRepoDamagedError
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.interface import Store


@contextmanager
def scratch_repository(git: Git) -> Iterator[Path]:
    """Yield an empty bare repository that is gone afterwards."""
    with TemporaryDirectory(prefix="memrepo-") as folder:
        path = Path(folder) / "scratch.git"
        git.run(["init", "--quiet", "--bare", "--initial-branch=main", str(path)])
        yield path


@contextmanager
def restored(git: Git, opening: Opening) -> Iterator[Path]:
    """Yield a repository with everything that a journal holds; only where it has branches."""
    with scratch_repository(git) as repo:
        pack = join_packs(entry.pack for entry in opening.all)
        assert pack is not None
        git.index_pack(repo, pack)
        set_refs(git, repo, opening.refs)
        yield repo


@contextmanager
def opened(git: Git, opening: Opening) -> Iterator[Path]:
    """Yield a repository with everything that a journal holds, opened as workers open it.

    Raises:
        JournalDamagedError: no worker could.
        GitError: git finds fault with an entry's objects.
    """
    with scratch_repository(git) as path:
        repo = WarmRepo.empty(path.with_name("opened.git"), git)
        try:
            if opening.base is not None:
                repo.begin_from(opening.base)
            repo.absorb(opening.entries)
        except WarmRepoDamagedError as error:
            raise GitError(f"an entry's objects are damaged: {error}") from error
        repo.save()
        yield repo.path


def require_clean(store: Store, layout: Layout, opening: Opening, executor: Executor) -> None:
    """Finish freeing the bytes of a deleted memory, which nobody would do once a new one is there.

    Raises:
        RepoExistsError: its delete has not come far enough for that.
    """
    if opening.base is None and not any(entry.refs for entry in opening.all):
        return  # there never was one: it holds no more than what was refused
    if opening.base is None or any(entry.refs for entry in opening.all):
        raise RepoExistsError(
            f"{layout.prefix} is being deleted: ask a worker for it once (memrepo log), then try again",
            {"prefix": layout.prefix},
        )
    clean(store, layout, opening.base.seq, (), executor)


def set_refs(git: Git, repo: Path, refs: Mapping[str, str]) -> None:
    """Make these the repository's refs."""
    commands = "".join(f"update {name} {sha}\n" for name, sha in refs.items())
    git.run(["update-ref", "--stdin"], repo=repo, stdin=commands.encode())


def verify(git: Git, repo: Path) -> None:
    """Have stock git check every object and that nothing reachable is missing.

    Raises:
        GitError: something is wrong; the message says what.
    """
    git.run(["fsck", "--full", "--strict", "--no-dangling", "--no-progress"], repo=repo)


def entry_of(git: Git, repo: Path, refs: Mapping[str, str], line: LedgerLine) -> bytes:
    """Return an entry that holds everything reachable from ``refs``, and this line in its ledger.

    It was opened once, as a worker will: an entry that none can open would fail every request for ever.

    Raises:
        GitOverBoundsError: a worker could not open it within its bounds; the message names the setting.
        GitError: something is missing.
    """
    wanted = "".join(f"{sha}\n" for sha in sorted(set(refs.values())))
    # By name, a base that another entry has, too, could not be taken in together with it.
    arguments = ["pack-objects", "--revs", "--stdout", "--quiet", "--delta-base-offset"]
    pack = git.run(arguments, repo=repo, stdin=wanted.encode())
    ledger = GitObject(Kind.BLOB, encode_lines([line]))
    ledger_sha = object_id(ledger)
    joined = join_packs([pack, encode_pack({ledger_sha: ledger}).data])
    assert joined is not None
    _require_opens(git, joined)
    header = {**refs, LEDGER_REF: ledger_sha, "HEAD": refs[HEAD_BRANCH]}
    data = encode_bundle((), header, joined)
    git.require_entry(len(data))
    return data


def _require_opens(git: Git, pack: bytes | memoryview) -> None:
    with scratch_repository(git) as repo:
        try:
            git.index_pack(repo, pack)
        except GitOverBoundsError as error:
            raise GitOverBoundsError(f"no worker could open it: {error}") from error
