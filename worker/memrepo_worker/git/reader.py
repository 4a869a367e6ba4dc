"""Reading objects, in process, from packs and from memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from memrepo.errors import TooLargeError
from memrepo.limits import MIB
from memrepo_worker.git.objects import (
    BYTES_MAX,
    MODE_SUBMODULE,
    Commit,
    GitObject,
    Kind,
    TreeEntry,
    decode_sound_commit,
    tagged,
)
from memrepo_worker.git.packed.directory import Header, ObjectMissingError
from memrepo_worker.git.trees.stored import decode_tree_of_any_size, memory_bytes_of
from memrepo_worker.threads.giving_way import give_way

Decoded = TypeVar("Decoded")

_TREES_BYTES_MAX = 8 * MIB  # the roots that ten commits of a memory of 100,000 files have and follow on
_COMMITS_BYTES_MAX = 64 * 1024
_ENTRIES_PER_LOOK = 256
_Call = Callable[[], None]
_COMMIT_BYTES = 2048  # besides its message


class ObjectRefusedError(Exception):
    """An object is there, and none that may be: too large to be read, or of a form that does harm. ``sha`` names it."""

    def __init__(self, sha: str, reason: str) -> None:
        super().__init__(f"{sha} is {reason}")
        self.sha = sha


class ObjectAbsentError(ObjectMissingError):
    """No pack has an object that something we hold names, and every one of them is as it was written."""

    def __init__(self, sha: str) -> None:
        super().__init__(f"object {sha} is not there")
        self.sha = sha


class ObjectSource(Protocol):
    """Whoever can give objects by id."""

    def find(self, sha: str) -> GitObject | None:
        """Return an object, or None when it is not here."""
        ...

    def header(self, sha: str) -> Header | None:
        """Return an object's kind, and its size in bytes, without reading it whole; None when it is not here."""
        ...

    def ids_beginning(self, digits: str) -> Iterator[str]:
        """Yield the ids of all objects here whose id begins with these hexadecimal digits."""
        ...


class ObjectMap:
    """Objects in memory."""

    def __init__(self, objects: Mapping[str, GitObject]) -> None:
        self._objects = objects

    def find(self, sha: str) -> GitObject | None:
        """Return an object, or None when it is not here."""
        return self._objects.get(sha)

    def header(self, sha: str) -> Header | None:
        """Return an object's kind and size in bytes, or None when it is not here."""
        item = self._objects.get(sha)
        return None if item is None else (item.kind, len(item.data))

    def ids_beginning(self, digits: str) -> Iterator[str]:
        """Yield the ids that begin so."""
        return (sha for sha in list(self._objects) if sha.startswith(digits))


def content_of(reader: Reader, entry: TreeEntry | None) -> bytes:
    """Return the content that git compares: of a submodule the line that names its commit, of no file nothing."""
    if entry is None:
        return b""
    if entry.mode == MODE_SUBMODULE:
        return f"Subproject commit {entry.sha}\n".encode()
    return reader.blob(entry.sha)


class _Recent(OrderedDict[str, Decoded]):
    """What was used last, by id."""

    def __init__(self, bytes_max: int, weigh: Callable[[Decoded], int]) -> None:
        super().__init__()
        self._bytes_max = bytes_max
        self._weigh = weigh
        self.bytes = 0

    def find(self, sha: str) -> Decoded | None:
        """Return a value, or None."""
        value = self.get(sha)
        if value is not None:
            self.move_to_end(sha)
        return value

    def remember(self, sha: str, value: Decoded) -> None:
        """Keep a value, and let the least recently used go if that makes too much; one stays, however large."""
        if sha not in self:
            self.bytes += self._weigh(value)
        self[sha] = value
        while self.bytes > self._bytes_max and len(self) > 1:
            self.bytes -= self._weigh(self.popitem(last=False)[1])


def _weigh_commit(commit: Commit) -> int:
    return _COMMIT_BYTES + len(commit.message)


@dataclass(slots=True)
class _Walk:
    """How much further a request may walk; ``on_over`` is called where it would be too far."""

    entries_max: int = 0
    entries: int = 0
    on_over: _Call | None = None
    require_time: _Call | None = None


class Reader:
    """Objects from several sources, the first that has one wins; keeps the last trees and commits decoded."""

    _trees: _Recent[Mapping[str, TreeEntry]]
    _commits: _Recent[Commit]
    _walk: _Walk

    def __init__(self, *sources: ObjectSource, below: Reader | None = None) -> None:
        """What ``below`` has decoded is shared with it."""
        self._sources = sources
        self._made: dict[str, Commit] = {}
        if below is not None:
            # Objects are immutable and named by content, so sharing is safe.
            self._trees, self._commits, self._walk = below._trees, below._commits, below._walk
            return
        self._trees = _Recent(_TREES_BYTES_MAX, memory_bytes_of)
        self._commits = _Recent(_COMMITS_BYTES_MAX, _weigh_commit)
        self._walk = _Walk()

    def layered(self, source: ObjectSource) -> Reader:
        """Return a reader that asks ``source`` first; it shares what this one has decoded."""
        return Reader(source, *self._sources, below=self)

    @property
    def memory_bytes(self) -> int:
        """About how much memory takes what is kept decoded."""
        return self._trees.bytes + self._commits.bytes

    @contextmanager
    def walking(self, entries_max: int, on_over: _Call, require_time: _Call | None = None) -> Iterator[None]:
        """Within the block, no more than so many entries of trees, and commits, may be walked.

        A bundle of 883 bytes can stand for a billion paths. ``require_time`` raises where it takes too long.
        """
        walk = self._walk
        before = (walk.entries_max, walk.entries, walk.on_over, walk.require_time)
        walk.entries_max, walk.entries, walk.on_over, walk.require_time = (
            entries_max,
            0,
            on_over,
            require_time,
        )
        try:
            yield
        finally:
            walk.entries_max, walk.entries, walk.on_over, walk.require_time = before

    def walked(self, entries: int = 1) -> None:
        """Note that so many more entries, or commits, are looked at; 0 where another step begins that takes time.

        Raises:
            TooLargeError: these are more than the request may, or it takes too long.
        """
        walk = self._walk
        walk.entries += entries
        give_way()
        if walk.require_time is not None and (not entries or walk.entries % _ENTRIES_PER_LOOK < entries):
            walk.require_time()
        if walk.on_over is not None and walk.entries > walk.entries_max:
            walk.on_over()
            raise TooLargeError.of(
                "ref",
                f"more than {walk.entries_max} files, folders and commits would have to be looked at: ask for less, "
                "for example by a path or prefix, or raise MEMREPO_WALK_ENTRIES_MAX at the workers",
                bound="walk_entries_max",
            )

    def maybe(self, sha: str) -> Header | None:
        """Return kind and size of an object that a caller named, or None when there is none: that is an answer.

        Where our own refs, trees or commits name it, ask ``must``: there its absence is damage.
        """
        for source in self._sources:
            header = source.header(sha)
            if header is not None:
                return header
        return None

    def must(self, sha: str) -> Header:
        """Return kind and size of an object that something we hold names.

        Raises:
            ObjectAbsentError: it is not there, so the copy is damaged, or what it was made from.
        """
        header = self.maybe(sha)
        if header is None:
            raise ObjectAbsentError(sha)
        return header

    def size(self, sha: str) -> int:
        """Return the size in bytes of an object that must be there."""
        return self.must(sha)[1]

    def blob(self, sha: str) -> bytes:
        """Return a file's content. Files may be of any size: who does not know it asks that first."""
        return self._read(sha, Kind.BLOB)

    def _read(self, sha: str, kind: Kind) -> bytes:
        for source in self._sources:
            item = source.find(sha)
            if item is None:
                continue
            if item.kind is not kind:
                raise ObjectRefusedError(sha, f"a {item.kind.word}, not a {kind.word}")
            return item.data
        raise ObjectAbsentError(sha)

    def _decoded(self, sha: str, kind: Kind, decode: Callable[[bytes], Decoded]) -> Decoded:
        """Read and decode an object of a kind that is never large; how large it is, is asked first.

        Raises:
            ObjectMissingError: it is not there.
            ObjectRefusedError: it is not what may be decoded.
        """
        found, size = self.must(sha)
        if found is not kind:
            raise ObjectRefusedError(sha, f"a {found.word}, not a {kind.word}")
        if size > BYTES_MAX[kind]:
            raise ObjectRefusedError(sha, f"a {kind.word} of {size} bytes, over {BYTES_MAX[kind]}")
        give_way()
        try:
            return decode(self._read(sha, kind))
        except ValueError as error:
            raise ObjectRefusedError(sha, str(error)) from error

    def ids_beginning(self, digits: str) -> list[str]:
        """Return the ids of all objects whose id begins with these hexadecimal digits, in order."""
        return sorted({sha for source in self._sources for sha in source.ids_beginning(digits)})

    def commit(self, sha: str) -> Commit:
        """Return a commit."""
        commit = self._made.get(sha) or self._commits.find(sha)
        if commit is None:
            commit = self._decoded(sha, Kind.COMMIT, decode_sound_commit)
            self._commits.remember(sha, commit)
        return commit

    def tree(self, sha: str) -> Mapping[str, TreeEntry]:
        """Return a tree's entries by name; the mapping is shared: do not change it."""
        entries = self._trees.find(sha)
        if entries is None:
            entries = self._decoded(sha, Kind.TREE, decode_tree_of_any_size)
            self.remember_tree(sha, entries)
        return entries

    def tagged(self, sha: str) -> str:
        """Return the id of what an annotated tag is at."""
        return self._decoded(sha, Kind.TAG, tagged)

    def made_commit(self, sha: str, commit: Commit) -> None:
        """Spare decoding a commit that was just made, for as long as there is this reader: one of its own layer."""
        self._made[sha] = commit

    def remember_made(self, layer: Reader) -> None:
        """Spare decoding what was made in a layer above this one, now that it is here for good."""
        for sha, commit in layer._made.items():
            self._commits.remember(sha, commit)

    def remember_tree(self, sha: str, entries: Mapping[str, TreeEntry]) -> None:
        """Spare reading and decoding a tree that was just made; ``entries`` are in git's order."""
        self._trees.remember(sha, entries)
