"""The repository that is replayed: its first-parent history and its files, read by git around its objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.git.batch import read_objects, sizes_of
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError
from memrepo_worker.git.foreign import ForeignRepository, find_repository
from memrepo_worker.git.objects import MODE_SUBMODULE, TreeEntry
from memrepo_worker.replay.spelling import add_canonical_trees

LOG_TIMEOUT_S = 600.0
OUTPUT_BYTES_MAX = 512 * MIB
"""How much one run of git may say; of ``git log`` it is about four million changes."""

_HEADER = b"\x01"
_FORMAT = "tformat:%x01%H%x00%T%x00%an%x00%ae%x00%B"
_LOG = (
    "log", "--stdin", "--no-walk=unsorted", "--diff-merges=first-parent", "--root", "--raw", "-z", "--no-abbrev",
    "--no-renames", "--no-show-signature", "--no-notes", "--no-mailmap", "--encoding=UTF-8", f"--format={_FORMAT}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What one commit did to one path, against its first parent; ``entry`` is None when it is gone.

    Bytes of the path that are not UTF-8 survive as surrogate escapes.
    """

    path: str
    entry: TreeEntry | None


@dataclass(frozen=True, slots=True)
class SourceCommit:
    """One commit of the history; text that is not UTF-8 has replacement characters."""

    sha: str
    tree_sha: str
    author_name: str
    author_email: str
    message: str
    changes: tuple[SourceChange, ...]


@dataclass(frozen=True)
class SourceRepository:
    """A repository, or a folder inside a work tree of one. Nothing in it is changed, run, obeyed or fetched."""

    found: ForeignRepository
    git: Git
    _sizes: dict[str, int] = field(default_factory=dict)
    _canonical: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, git: Git) -> SourceRepository:
        """Find the repository.

        Raises:
            GitError: there is none, or none that can be read; one line that says what to do.
        """
        return cls(find_repository(path), git)

    def history(self, limit: int | None = None) -> list[SourceCommit]:
        """Return the commits that led to ``HEAD`` by first parents, oldest first; all their files are there.

        Raises:
            GitError: ``HEAD`` names no commit, something is missing, or there is more than the caps allow.
        """
        path, head = self.found.path, self.found.head
        if head is None:
            raise GitError(f"{path} has no commit to replay: its HEAD names none")
        try:
            line = self._run(["rev-list", "--first-parent", head]).decode().split()[::-1]
            shas = "".join(f"{sha}\n" for sha in line[:limit])
            commits = list(_parse(self._run(_LOG, shas.encode())))
        except GitError as error:
            raise self._unreadable(error) from error
        self._look_at(commits)
        return commits

    def _look_at(self, commits: Iterable[SourceCommit]) -> None:
        """Ask for the size of every file, and so whether it is there, before anything is sent."""
        blobs = {
            change.entry.sha
            for commit in commits
            for change in commit.changes
            if change.entry is not None and change.entry.mode != MODE_SUBMODULE
        }
        sizes = sizes_of(self._run, blobs, "blob")
        missing = blobs - sizes.keys()
        if missing:
            raise self._unreadable(
                GitError(f"{len(missing)} of {len(blobs)} files are not in it, {min(missing)} for one")
            )
        unpacked, most = sum(sizes.values()), self.git.caps.unpacked_bytes_max
        if unpacked > most:
            what = f"{unpacked} bytes of files unpacked, over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX ({most})"
            raise self._unreadable(GitOverBoundsError(what))
        self._sizes.update(sizes)

    def side_commits(self, history: Sequence[SourceCommit]) -> int | None:
        """Return how many commits of side branches a history has merged, which no first parent leads to.

        None where that cannot be counted, as some of them are not there.
        """
        try:
            counted = self._run(["rev-list", "--count", history[-1].sha])
        except GitError:
            return None
        return int(counted) - len(history)

    def size(self, blob_sha: str) -> int:
        """Return the size in bytes of a file of the history."""
        return self._sizes[blob_sha]

    def blobs(self, shas: Iterable[str]) -> dict[str, bytes]:
        """Return files of the history by id."""
        return dict(read_objects(self._run, {sha: self._sizes[sha] for sha in shas}, "blob"))

    def canonical_tree(self, tree_sha: str, soon: Iterable[str]) -> str:
        """Return the id of the tree that git itself would write of a tree's files.

        ``soon`` are trees that will be asked for next: reading many at once starts fewer processes.
        """
        if tree_sha not in self._canonical:
            add_canonical_trees(self._run, [tree_sha, *soon], self._canonical)
        return self._canonical[tree_sha]

    def _run(self, arguments: Sequence[str], stdin: bytes = b"") -> bytes:
        return self.git.run(
            arguments,
            repo=self.found.objects,
            stdin=stdin,
            timeout_s=LOG_TIMEOUT_S,
            bounds=self.git.caps.bounds_for(self.found.stored_bytes),
            output_bytes_max=OUTPUT_BYTES_MAX,
        )

    def _unreadable(self, error: GitError) -> GitError:
        """Say what is missing or too much, and what to do about it."""
        path = self.found.path
        if isinstance(error, GitOverBoundsError):
            return GitError(f"{error}, reading the history of {path}. Or replay a part of it with --limit.")
        what = str(error)
        if self.found.is_partial:
            return GitError(
                f"{path} is a partial clone (git clone --filter), and memrepo fetches nothing: {what}. "
                "Replay a full one, made by git clone without --filter."
            )
        return GitError(f"the history of {path} cannot be read whole: {what}. git fsck says more.")


def _parse(log: bytes) -> Iterator[SourceCommit]:
    tokens = iter(log.split(b"\0"))
    header: list[str] = []
    changes: list[SourceChange] = []
    for token in tokens:
        if token.startswith(_HEADER):
            if header:
                yield _commit(header, changes)
            fields = [token[1:], *(next(tokens) for _ in range(4))]
            header, changes = [field.decode(errors="replace") for field in fields], []
        elif token.strip():
            changes.append(_change(token.decode(), next(tokens)))
    if header:
        yield _commit(header, changes)


def _commit(header: list[str], changes: list[SourceChange]) -> SourceCommit:
    sha, tree_sha, author_name, author_email, message = header
    return SourceCommit(sha, tree_sha, author_name, author_email, message, tuple(changes))


def _change(raw: str, path: bytes) -> SourceChange:
    """Read one line of ``git log --raw``: ``:<old mode> <new mode> <old sha> <new sha> <status>``."""
    _, mode, _, sha, status = raw.lstrip("\n:").split(" ")
    entry = None if status == "D" else TreeEntry(mode, sha)
    return SourceChange(path.decode(errors="surrogateescape"), entry)
