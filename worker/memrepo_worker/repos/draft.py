"""The next entry while it is being written: what a group of requests makes of a warm repository's tip.

Nothing of a draft reaches the warm repository before the store has taken the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from memrepo.errors import MemoryRepoError
from memrepo.limits import Limits
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.forks import ForkRequest
from memrepo_worker.bounds import Bounds, LedgerBounds
from memrepo_worker.git.objects import Commit, GitObject, encode_commit, object_id
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.journal.entry import HEAD_BRANCH, encode_entry
from memrepo_worker.journal.entry_files import write_entry
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.delta_chains import DeltaChains
from memrepo_worker.repos.state import RepoState
from memrepo_worker.store.content import Content


@dataclass(frozen=True, slots=True)
class View:
    """What one request found: the refs that a read between two commits of a group must see.

    ``line`` is what was settled then of the request that the read asks about. ``legacy``: there is no repository here,
    and another server's lies beside the journal.
    """

    refs: Mapping[str, str]
    line: LedgerLine | None = None
    legacy: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is a repository."""
        return bool(self.refs)


PendingOutcome = LedgerLine | View | MemoryRepoError
"""What a draft leaves of each request: a verdict, the refs that a read found, or a refusal that changes nothing."""


class SettledBefore(Protocol):
    """The requests that were settled before a draft."""

    def find(self, request_id: str) -> LedgerLine | None:
        """Return what became of a request, or None when it was not settled (within the horizon)."""
        ...


@dataclass(frozen=True, slots=True)
class Copied:
    """What a memory begins with that is copied from another: a pack in a file, which needs nothing beside it.

    ``objects`` go in with it: what says where it comes from (``origin_sha``), and the first commit, where it begins
    without the other's history. ``head`` is the commit that ``main`` begins at. ``indexed`` is a folder of objects
    that has the pack, as git has taken it in.
    """

    pack: Path
    indexed: Path
    head: str
    origin_sha: str
    objects: Mapping[str, GitObject]


class Draft:
    """An entry on top of ``state``: new objects, the refs after it, and its ledger lines.

    ``limits`` are those that hold for what it writes; ``edited_bytes_max`` is what one request's edits may go through.
    """

    def __init__(
        self,
        state: RepoState,
        ledger: SettledBefore,
        reader: Reader,
        *,
        limits: Limits,
        edited_bytes_max: int = Bounds.edited_bytes_max,
        legacy: bool = False,
        copy_for: Callable[[ForkRequest], Copied] | None = None,
        depths: Mapping[str, int] | None = None,
    ) -> None:
        self.limits = limits
        self.edited_bytes_max = edited_bytes_max
        self._state = state
        self._ledger = ledger
        self._legacy = legacy
        self.refs: dict[str, str] = dict(state.refs)
        self.objects: dict[str, GitObject] = {}
        self.lines: dict[str, LedgerLine] = {}
        self._deferred: dict[str, LedgerLine] = {}
        self._prerequisites: set[str] = set()
        self._ended = False
        self._ledger_bytes = 0
        self._copy_for = copy_for
        self.chains = DeltaChains(depths or {})
        self.origin_sha = state.origin_sha
        self.copied: Copied | None = None
        self.reader = reader.layered(ObjectMap(self.objects))
        self._encoded: bytes | None = None

    def go_on(self, copy_for: Callable[[ForkRequest], Copied]) -> None:
        """Go on in another turn, which makes copies of its own."""
        self._copy_for = copy_for

    @property
    def view(self) -> View:
        """The refs as they are at this point of the group."""
        return View(dict(self.refs), legacy=self._legacy)

    def view_with(self, request_id: str) -> View:
        """The view of a read that asks what became of a request."""
        return View(dict(self.refs), self.settled(request_id), self._legacy)

    @property
    def begun(self) -> bool:
        """Whether the journal has any entry."""
        return self._state.begun

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.lines)

    @property
    def is_full(self) -> bool:
        """Whether its ledger has as much as an entry may have."""
        return self._ledger_bytes >= LedgerBounds.entry_bytes_max

    def settled(self, request_id: str) -> LedgerLine | None:
        """Return what this group or the ledger says of a request."""
        return self.lines.get(request_id) or self._ledger.find(request_id)

    def settle(self, line: LedgerLine) -> None:
        """Note what became of a request; what was set aside before it goes into the entry with it."""
        self._encoded = None
        for one in (*self._deferred.values(), line):
            self.lines[one.request_id] = one
            self._ledger_bytes += one.bytes_about
        self._deferred.clear()

    def defer_failure(self, line: LedgerLine) -> None:
        """Note a refusal that alone is worth no entry."""
        self._deferred.setdefault(line.request_id, line)

    def end(self) -> None:
        """Delete the repository: nothing of what this draft held may stay in its entry, which is kept for good."""
        self.refs.clear()
        self.origin_sha = None
        self._ended = True

    def copy_for(self, request: ForkRequest) -> Copied:
        """Return what a fork copies."""
        assert self._copy_for is not None
        return self._copy_for(request)

    def begin_from(self, copied: Copied) -> None:
        """Begin the repository with what was copied from another; nothing else may be in this draft."""
        self.refs[HEAD_BRANCH] = copied.head
        self.origin_sha = copied.origin_sha
        self.copied = copied

    def commit(
        self,
        commit: Commit,
        objects: Mapping[str, GitObject],
        *,
        refers_to: str | None = None,
        bases: Mapping[str, str] | None = None,
    ) -> str:
        """Add a commit with its new trees and files; return its id.

        ``bases`` says of some of them which file of the parent they follow from: of large ones only the difference is
        written.

        ``refers_to`` is a commit that has files which are not among them: who takes the entry must have that one, too.
        """
        item = encode_commit(commit)
        sha = object_id(item)
        needed = (*commit.parents, *([refers_to] if refers_to else ()))
        self._prerequisites.update(parent for parent in needed if parent not in self.objects)
        self.chains.add(objects, bases or {}, self.objects, self.reader)
        self.objects.update(objects)
        self.objects[sha] = item
        self.reader.made_commit(sha, commit)
        return sha

    def encode(self) -> Content:
        """Return the entry's bytes; beside what was copied, as a file."""
        if self._ended:
            return encode_entry({}, {}, (), self.lines.values())
        if self.copied is not None:
            path = self.copied.pack.with_name("entry.bundle")
            write_entry(
                path,
                self.copied.pack,
                self.copied.objects,
                self.refs,
                self.lines.values(),
                self.copied.origin_sha,
            )
            return path
        if self._encoded is None:
            self._encoded = encode_entry(
                self.objects,
                self.refs,
                self._prerequisites,
                self.lines.values(),
                self.chains.deltas,
                self.origin_sha,
            )
        return self._encoded


@dataclass(frozen=True, slots=True)
class Ahead:
    """A draft of the first requests of the next group, and what becomes of each in it.

    Nothing of it is in the warm repository, or known to anybody. It is good for one state alone, ``seq`` and the digest
    of that entry, and for a group that begins with just these requests.
    """

    draft: Draft
    requests: Sequence[Request]
    pending: list[PendingOutcome]
    made_s: float
    """When, by the monotonic clock: what a draft says of the horizon is of then."""
    seq: int = 0
    tip_sha256: str = ""

    def on(self, state: RepoState) -> Ahead:
        """Return it for that state, which its draft was made on: the entry before it is published."""
        return replace(self, seq=state.seq, tip_sha256=state.tip_sha256)

    def is_of(self, state: RepoState, requests: Sequence[Request]) -> bool:
        """Whether it is the draft of a group that begins with these requests, on that state."""
        if (state.seq, state.tip_sha256) != (self.seq, self.tip_sha256):
            return False
        of_group = requests[: len(self.requests)]
        return len(of_group) == len(self.requests) and all(map(_is_same, of_group, self.requests))


def memory_bytes_of(ahead: Ahead | None) -> int:
    """About how much memory it takes, if there is one: its objects, and the entry that was written of them."""
    return 0 if ahead is None else 2 * sum(len(item.data) for item in ahead.draft.objects.values())


@dataclass(frozen=True, slots=True)
class SettledByThen:
    """What will be settled when an entry is published that is on its way: its lines, and all before it."""

    lines: Mapping[str, LedgerLine]
    before: SettledBefore

    def find(self, request_id: str) -> LedgerLine | None:
        """Return what becomes of a request, or None when it is not settled then."""
        return self.lines.get(request_id) or self.before.find(request_id)


def _is_same(one: Request, other: Request) -> bool:
    return one is other
