"""Stock git, as a judge: isolated from the machine's configuration, run through the project's one door."""

from __future__ import annotations

from pathlib import Path

from memrepo.settings import environment
from memrepo_worker.git.command import Git, GitError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

__all__ = ["GitError", "empty_repository", "git", "restore", "stock_git"]


def stock_git() -> Git:
    return Git(Processes(Counters()), environment()["PATH"], protocols="file")


def git(repo: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git in a bare repository and return its output."""
    return stock_git().run(arguments, repo=repo, stdin=stdin)


def empty_repository(path: Path) -> Path:
    stock_git().run(["init", "--quiet", "--bare", "--initial-branch=main", str(path)])
    return path


def restore(folder: Path, into: Path) -> Path:
    """Restore an agent from its folder in a local store, by the newest base, and segments and entries after it."""
    repo = empty_repository(into)
    last = ""
    for bundle in [*_bundles(folder, "base")[-1:], *_bundles(folder, "segment", "journal")]:
        first, _, end = bundle.stem.partition("-")
        if first > last:
            fetch(repo, bundle)
            last = end or first
    return repo


def _bundles(folder: Path, *kinds: str) -> list[Path]:
    found = [path for kind in kinds for path in (folder / kind).glob("*.bundle")]
    return sorted(
        (path for path in found if path.stat().st_size >= CONTENT_BYTES_MIN), key=lambda path: path.name
    )


def fetch(repo: Path, bundle: Path) -> None:
    heads, tags = "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"
    git(repo, "fetch", "--quiet", "--prune", str(bundle), heads, tags)
