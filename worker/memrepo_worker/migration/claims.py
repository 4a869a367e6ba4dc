"""Commits that say that memrepo made them: by which request, and for what kind of author.

Such lines are believed, and found by ``find_request``, wherever they are in a memory. So whoever takes over what
others made looks for them before.
"""

from __future__ import annotations

from pathlib import Path

from memrepo_worker.git.command import Git
from memrepo_worker.git.objects import COMMITTER_EMAIL, COMMITTER_NAME


def claims_of(git: Git, repo: Path) -> int:
    """Return how many commits, reachable from any ref, say that memrepo made them.

    Raises:
        GitError: the repository cannot be read.
    """
    asked = ["log", "--all", "--format=%cn%x00%ce", "--grep=^Request-Id: "]
    listed = git.run(asked, repo=repo).decode(errors="replace")
    return sum(line == f"{COMMITTER_NAME}\0{COMMITTER_EMAIL}" for line in listed.split("\n"))
