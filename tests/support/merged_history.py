"""A small history with a merge, as a bundle made by stock git."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.stock_git import empty_repository, git


def bundle_with_a_merge(tmp_path: Path, dates: Sequence[int] = (100, 200, 300, 400)) -> Path:
    """A history base, left, right, merge with these dates, as a bundle made by stock git."""
    repo = empty_repository(tmp_path / "merge.git")
    tree = git(repo, "mktree").decode().strip()

    def make(message: str, date: int, *parents: str) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"{who} A <a@example.org> {date} +0000" for who in ("author", "committer")]
        text = "\n".join(lines) + f"\n\n{message}\n"
        return git(repo, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode()).decode().strip()

    base = make("base", dates[0])
    left, right = make("left", dates[1], base), make("right", dates[2], base)
    git(repo, "update-ref", "refs/heads/main", make("merge", dates[3], left, right))
    git(repo, "bundle", "create", "--quiet", str(tmp_path / "merge.bundle"), "--all")
    return tmp_path / "merge.bundle"
