"""The repository that is replayed: its first-parent history, read by the git command line and libgit2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pygit2

from memrepo_worker.git.command import Git, GitError
from memrepo_worker.git.objects import TreeEntry

LOG_TIMEOUT_S = 600.0
_HEADER = b"\x01"
_FORMAT = "tformat:%x01%H%x00%T%x00%an%x00%ae%x00%B"
_LOG = (
    "log", "--first-parent", "--reverse", "--diff-merges=first-parent", "--root", "--raw", "-z", "--no-abbrev",
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
    """A repository, or a folder inside a work tree of one. Nothing in it is changed, and nothing of it is run."""

    path: Path
    git: Git
    _objects: pygit2.Odb

    @classmethod
    def open(cls, path: Path, git: Git) -> SourceRepository:
        """Find the repository.

        Raises:
            GitError: there is none.
        """
        found = git.run(["-C", str(path), "rev-parse", "--absolute-git-dir", "--git-common-dir"]).decode()
        git_dir, common_dir = (Path(path, line) for line in found.splitlines())
        return cls(git_dir, replace(git, timeout_s=LOG_TIMEOUT_S), pygit2.Odb(str(common_dir / "objects")))

    def history(self, limit: int | None = None) -> list[SourceCommit]:
        """Return the commits that led to ``HEAD`` by first parents, oldest first.

        Raises:
            GitError: ``HEAD`` names no commit, or git failed.
        """
        try:
            head = self.git.run(
                ["rev-parse", "--verify", "--end-of-options", "HEAD^{commit}"], repo=self.path
            )
        except GitError:
            raise GitError(f"{self.path} has no commit to replay: its HEAD names none") from None
        commits = list(_parse(self.git.run([*_LOG, head.decode().strip()], repo=self.path)))
        return commits if limit is None else commits[:limit]

    def size(self, blob_sha: str) -> int:
        """Return a blob's size in bytes."""
        return int(self._objects.read_header(blob_sha)[1])

    def blob(self, blob_sha: str) -> bytes:
        """Return a blob's bytes."""
        return bytes(self._objects.read(blob_sha)[1])


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
