"""What a name means: from ``HEAD``, a branch, a tag or a sha to a commit."""

from __future__ import annotations

import re

from memrepo.errors import RefNotFoundError, RepoNotFoundError
from memrepo_worker.git.objects import Kind
from memrepo_worker.git.reader import Reader
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import HEAD_BRANCH
from memrepo_worker.repos.draft import View

_SHA = re.compile(r"[0-9a-f]{40}\Z")


def branch_ref(branch: str) -> str:
    """Return a branch's full name."""
    return f"refs/heads/{branch}"


def require_repo(view: View, agent: Agent) -> None:
    """Raise ``RepoNotFoundError`` if there is no repository."""
    if not view.exists:
        raise RepoNotFoundError(
            f"{agent} has no memory yet: call create_repo, or commit with create_repo_if_missing=True",
            {"org_id": agent.org_id, "agent_id": agent.agent_id},
        )


def resolve(ref: str, view: View, reader: Reader) -> str:
    """Return the id of the commit that a ref names.

    Raises:
        RefNotFoundError: there is none.
    """
    sha = _lookup(ref, view)
    commit = _peel(sha, reader) if sha else None
    if commit is None:
        raise RefNotFoundError(f"{ref!r} is no branch, tag or commit of this repository", {"ref": ref})
    return commit


def tips(view: View, reader: Reader) -> set[str]:
    """Return the commits that branches and tags are at."""
    return {commit for sha in set(view.refs.values()) if (commit := _peel(sha, reader))}


def _lookup(ref: str, view: View) -> str | None:
    if ref == "HEAD":
        return view.refs.get(HEAD_BRANCH)
    if _SHA.match(ref):
        return ref
    for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}"):
        if name in view.refs:
            return view.refs[name]
    return None


def _peel(sha: str, reader: Reader) -> str | None:
    """Follow annotated tags to their commit."""
    item = reader.find(sha)
    while item is not None and item.kind is Kind.TAG:
        sha = item.data.split(b"\n", 1)[0].removeprefix(b"object ").decode()
        item = reader.find(sha)
    return sha if item is not None and item.kind is Kind.COMMIT else None
