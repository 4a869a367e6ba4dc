"""What a ref means in a repository: which commit a branch, a tag, ``HEAD`` or a sha names, now or at a time."""

from __future__ import annotations

from collections.abc import Mapping

from memrepo.errors import HeadMovedError, RefNotFoundError, RepoNotAdoptedError, RepoNotFoundError
from memrepo.validation.refs import Ref
from memrepo_worker.git.objects import Kind
from memrepo_worker.git.reader import Reader
from memrepo_worker.group import Agent
from memrepo_worker.journal.entry import HEAD_BRANCH
from memrepo_worker.repos.draft import View

_CANDIDATES_MAX = 10
_TAGS_FOLLOWED_MAX = 16


def branch_ref(branch: str) -> str:
    """Return a branch's full name."""
    return f"refs/heads/{branch}"


def tag_ref(tag: str) -> str:
    """Return a tag's full name."""
    return f"refs/tags/{tag}"


def branch_head(branch: str, refs: Mapping[str, str]) -> str:
    """Return the commit that a branch is at.

    Raises:
        RefNotFoundError: there is no such branch.
    """
    sha = refs.get(branch_ref(branch))
    if sha is None:
        raise RefNotFoundError(f"there is no branch {branch!r}", {"ref": branch})
    return sha


def expected_branch_head(branch: str, refs: Mapping[str, str], expected: str | None) -> str:
    """Return the commit that a branch is at, if it is where a caller expects it; None expects nothing.

    Raises:
        RefNotFoundError: there is no such branch.
        HeadMovedError: it is elsewhere.
    """
    head = branch_head(branch, refs)
    if expected not in (None, head):
        raise moved(branch, head, expected)
    return head


def moved(branch: str, head: str | None, expected: str | None, *, is_there: bool = True) -> HeadMovedError:
    """Return the error for a branch that is not where a caller expects it, or would not begin there."""
    told = f"branch {branch!r} is at {head}, not at {expected}"
    if not is_there:
        place = "" if head is None else f"; it would begin at {head}"
        told = f"there is no branch {branch!r} that could be at {expected}{place}"
    return HeadMovedError(told, {"branch": branch, "head": head})


def require_repo(view: View, agent: Agent) -> None:
    """Raise ``RepoNotFoundError`` if there is no repository, or ``RepoNotAdoptedError``."""
    refuse_legacy(view, agent)
    if not view.exists:
        raise RepoNotFoundError(
            f"{agent} has no memory yet: call create_repo, or commit with create_repo_if_missing=True",
            {"org_id": agent.org_id, "agent_id": agent.agent_id},
        )


def refuse_legacy(view: View, agent: Agent) -> None:
    """Raise ``RepoNotAdoptedError`` if another server's repository lies where the journal has none."""
    if view.legacy:
        raise RepoNotAdoptedError(
            f"{agent} is stored in the layout of a Letta server: run "
            f"`memrepo store adopt {agent.org_id} {agent.agent_id}` once",
            {"org_id": agent.org_id, "agent_id": agent.agent_id},
        )


def resolve(text: str, view: View, reader: Reader) -> str:
    """Return the id of the commit that a ref names: a branch, tag, ``HEAD`` or sha, with ``@{time}`` or ``~n`` or not.

    As in git a whole sha goes first, then branches and tags, then short shas. A sha, whole or short, finds every commit
    of the repository, also one that no branch or tag leads to any more: who knows an id may read.

    Raises:
        RefNotFoundError: there is none, or a short sha is the beginning of several; then the message lists them.
    """
    ref = Ref.parse(text)
    start = _commit_of(ref, text, view, reader)
    commit = start if ref.at is None else _at(ref, text, start, reader)
    for step in range(ref.generations):
        parents = reader.commit(commit).parents
        if not parents:
            raise RefNotFoundError(
                f"{text!r} goes past the first commit: {_first(ref.name, step)}",
                {"ref": text, "commits": step + 1},
            )
        commit = parents[0]
    return commit


def _at(ref: Ref, text: str, start: str, reader: Reader) -> str:
    """Return the newest commit by first parents that was there at a time.

    By committer dates: a group's are set by the moment at which each request was enqueued, and never run backwards
    along a branch. So it is what whoever looked then could have found, but for what waited in the queue.
    """
    assert ref.at is not None
    commit = start
    while True:
        reader.walked()
        there = reader.commit(commit)
        if there.committer.timestamp <= ref.at:
            return commit
        if not there.parents:
            raise RefNotFoundError(
                f"{text!r} is before the first commit of {ref.name!r}, {commit}",
                {"ref": text, "first": commit},
            )
        commit = there.parents[0]


def _first(name: str, generations: int) -> str:
    """Say which the first commit is that a name's history has."""
    if generations == 0:
        return f"{name!r} is the first commit"
    return f"from {name!r} there are {generations + 1} commits, the first is {name}~{generations}"


def tips(view: View, reader: Reader) -> set[str]:
    """Return the commits that branches and tags are at."""
    return {commit for sha in set(view.refs.values()) if (commit := commit_of(sha, reader))}


def _commit_of(ref: Ref, text: str, view: View, reader: Reader) -> str:
    """Return the commit that a ref's name stands for."""
    ours = None if ref.is_sha else _named(ref.name, view)
    if ref.at is not None and not _is_branch(ref.name, view):
        raise RefNotFoundError(
            f"{ref.name!r} is no branch of this repository, and only a branch was elsewhere before",
            {"ref": text},
        )
    # What our own ref names must be there: its absence is damage, and no answer.
    commit = _given(ref, text, reader) if ours is None else commit_of(ours, reader)
    if commit is None:
        raise RefNotFoundError(f"{text!r} is no branch, tag or commit of this repository", {"ref": text})
    return commit


def _given(ref: Ref, text: str, reader: Reader) -> str | None:
    """Return the commit that a sha, whole or short, of the caller's leads to."""
    sha: str | None = ref.name
    if not ref.is_sha:
        sha = _completed(ref.name, text, reader) if ref.is_short_sha else None
    return commit_of(sha, reader) if sha and reader.maybe(sha) is not None else None


def _is_branch(name: str, view: View) -> bool:
    return name == "HEAD" or name in view.refs or branch_ref(name) in view.refs


def _named(name: str, view: View) -> str | None:
    """Return what a branch or tag is at."""
    if name == "HEAD":
        return view.refs.get(HEAD_BRANCH)
    for full in (name, f"refs/heads/{name}", f"refs/tags/{name}"):
        if full in view.refs:
            return view.refs[full]
    return None


def _completed(digits: str, text: str, reader: Reader) -> str | None:
    """Return the id that begins so and leads to a commit; as in git, files and folders do not make it ambiguous."""
    found = [sha for sha in reader.ids_beginning(digits) if commit_of(sha, reader)]
    if len(found) > 1:
        raise RefNotFoundError(
            f"{digits!r} is the beginning of {len(found)} commits: {', '.join(found[:_CANDIDATES_MAX])}. "
            "Give more digits",
            {"ref": text, "candidates": found[:_CANDIDATES_MAX]},
        )
    return found[0] if found else None


def commit_of(sha: str, reader: Reader) -> str | None:
    """Follow annotated tags to their commit; None where they lead to something else.

    Raises:
        ObjectMissingError: something on the way is damaged.
    """
    for _ in range(_TAGS_FOLLOWED_MAX):
        kind, _ = reader.must(sha)
        if kind is not Kind.TAG:
            return sha if kind is Kind.COMMIT else None
        sha = reader.tagged(sha)
    return None


def is_commit(sha: str, reader: Reader) -> bool:
    """Whether an id that may be anybody's is that of a commit here; raises what ``commit_of`` does."""
    return reader.maybe(sha) is not None and commit_of(sha, reader) == sha
