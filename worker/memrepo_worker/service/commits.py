"""How a request becomes a commit, and how a commit becomes what users are told of it.

A commit is a pure function of its parent and its request: made again, by whomever, it has the same sha. What git has
no field for (request id, kind and id of the author) is kept as trailers in a last paragraph of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol, get_args

from memrepo.models import Author, AuthorType, FileDiff, MemoryCommit
from memrepo_worker.git.compare import Comparison
from memrepo_worker.git.objects import COMMITTER_EMAIL, COMMITTER_NAME, Commit, Ident, TreeEntry, printable
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import FileDelta, differences
from memrepo_worker.repos.line_counts import Counts
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.threads.giving_way import give_way

_REQUEST_ID = "Request-Id"
_AUTHOR_TYPE = "Author-Type"
_AUTHOR_ID = "Author-Id"
_TIMESTAMP_MIN = int(datetime(1, 1, 1, tzinfo=UTC).timestamp())
_TIMESTAMP_MAX = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_AUTHOR_TYPES: Mapping[str, AuthorType] = {kind: kind for kind in get_args(AuthorType)}
_TRAILERS = (_REQUEST_ID, _AUTHOR_TYPE, _AUTHOR_ID)


class KeptCounts(Protocol):
    """Line counts of commits that were computed once."""

    def find(self, sha: str) -> Counts | None:
        """Return the counts of a commit, if they are kept."""
        ...

    def keep(self, sha: str, counts: Counts) -> None:
        """Keep the counts of a commit."""
        ...


class Described(Protocol):
    """What is needed of a repository to describe its commits."""

    @property
    def reader(self) -> Reader:
        """Its objects."""
        ...

    @property
    def line_counts(self) -> KeptCounts:
        """What was counted before."""
        ...

    def compare(self, old: TreeEntry | None, new: TreeEntry | None, *, patch: bool = True) -> Comparison:
        """Compare two states of a file; None stands for "no file"."""
        ...


def compose(
    reader: Reader,
    tree: str,
    parents: tuple[str, ...],
    message: str,
    author: Author,
    request_id: str,
    enqueued_at: float,
) -> Commit:
    """Return the commit that a request makes on its parents.

    The author date is when the request was enqueued; the committer date is that or a parent's, whichever is latest,
    so that dates never run backwards along a branch.
    """
    authored = int(enqueued_at)
    committed = max([authored, *(reader.commit(parent).committer.timestamp for parent in parents)])
    return Commit(
        tree=tree,
        parents=parents,
        author=Ident(author.name, author.email, authored),
        committer=Ident(COMMITTER_NAME, COMMITTER_EMAIL, committed),
        message=_with_trailers(message, author, request_id),
    )


def _with_trailers(message: str, author: Author, request_id: str) -> str:
    lines = [f"{_REQUEST_ID}: {request_id}", f"{_AUTHOR_TYPE}: {author.type}"]
    if author.id is not None:
        lines.append(f"{_AUTHOR_ID}: {author.id}")
    body = message.rstrip("\n")
    return f"{body}\n\n" + "".join(f"{line}\n" for line in lines)


def _split_trailers(commit: Commit) -> tuple[str, dict[str, str]]:
    """Return the message without our last paragraph, and what that says; only in a commit of ours it is believed."""
    text = commit.message.rstrip("\n")
    if (commit.committer.name, commit.committer.email) != (COMMITTER_NAME, COMMITTER_EMAIL):
        return text, {}
    body, _, last = text.rpartition("\n\n")
    pairs = [line.partition(": ") for line in last.split("\n")]
    if pairs[0][0] != _REQUEST_ID or any(name not in _TRAILERS for name, _, _ in pairs):
        return text, {}
    return body, {name: value for name, _, value in pairs}


def request_id_of(commit: Commit) -> str | None:
    """Return the id of the request that made a commit; None where it was made elsewhere."""
    return _split_trailers(commit)[1].get(_REQUEST_ID)


def describe(repo: Described, sha: str) -> MemoryCommit:
    """Return what users are told of a commit: its text, its author, its files and line counts."""
    give_way()
    reader = repo.reader
    commit = reader.commit(sha)
    parent = commit.parents[0] if commit.parents else None
    parent_tree = reader.commit(parent).tree if parent else None
    # All are walked before one is compared: where they are too many, that ends soon.
    deltas = list(differences(reader, parent_tree, commit.tree))
    additions, deletions, exact = _count_lines(repo, sha, deltas)
    message, trailers = _split_trailers(commit)
    return MemoryCommit(
        sha=sha,
        parent_sha=parent,
        message=message,
        author_type=_AUTHOR_TYPES.get(trailers.get(_AUTHOR_TYPE, ""), "user"),
        author_id=trailers.get(_AUTHOR_ID),
        author_name=commit.author.name,
        author_email=commit.author.email,
        timestamp=date_of(commit.author.timestamp),
        files_changed=[printable(delta.path) for delta in deltas],
        additions=additions,
        deletions=deletions,
        request_id=trailers.get(_REQUEST_ID),
        counts_exact=exact,
    )


def _count_lines(repo: Described, sha: str, deltas: Sequence[FileDelta]) -> tuple[int, int, bool]:
    """Return the lines that a commit adds and removes, and whether that is exact; what would come again is kept."""
    kept = repo.line_counts.find(sha)
    if kept is not None:
        return kept
    additions, deletions, exact, lasting = 0, 0, True, True
    for delta in deltas:
        compared = repo.compare(delta.old, delta.new, patch=False)
        additions += compared.additions
        deletions += compared.deletions
        exact = exact and compared.exact
        lasting = lasting and compared.lasting
    counts = (additions, deletions, exact)
    if lasting:
        repo.line_counts.keep(sha, counts)
    return counts


def date_of(timestamp_s: float) -> datetime:
    """Return a date; one that Python cannot tell (imported histories hold anything) becomes the nearest that it can."""
    return datetime.fromtimestamp(min(max(timestamp_s, _TIMESTAMP_MIN), _TIMESTAMP_MAX), UTC)


def describe_file(repo: WarmRepo, delta: FileDelta) -> FileDiff:
    """Return what users are told of one file that differs between two commits."""
    compared = repo.compare(delta.old, delta.new)
    status: Literal["added", "modified", "deleted"] = "modified"
    if delta.old is None or delta.new is None:
        status = "added" if delta.old is None else "deleted"
    path = printable(delta.path)
    return FileDiff(
        path=path,
        status=status,
        additions=compared.additions,
        deletions=compared.deletions,
        binary=compared.binary,
        patch=compared.patch(path),
        counts_exact=compared.exact,
        old_mode=None if delta.old is None else delta.old.mode,
        new_mode=None if delta.new is None else delta.new.mode,
    )
