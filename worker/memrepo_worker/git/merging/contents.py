"""Merging the contents of one file, line by line, by libgit2: it carries git's own xdiff.

libgit2 writes what it merges into a repository. It gets one in memory, which is gone with the merge: nothing
unpublished reaches a warm repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import pygit2
from pygit2.enums import FileMode, MergeFavor, MergeFlag, ObjectType

from memrepo.errors import TooLargeError
from memrepo_worker.bounds import MergeBounds
from memrepo_worker.git.compare import differing_bytes, is_binary


class Favor(Enum):
    """Whose lines go into a conflicting hunk."""

    NOBODY = MergeFavor.NORMAL
    OURS = MergeFavor.OURS
    THEIRS = MergeFavor.THEIRS
    UNION = MergeFavor.UNION


class Refused(Enum):
    """Why two contents are not merged."""

    CONTENT = "content"
    BINARY = "binary"
    TOO_LARGE = "too_large"


class _InMemory(pygit2.OdbBackend):
    """Objects in memory, by id."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[pygit2.Oid, tuple[int, bytes]] = {}

    def read_cb(self, oid: pygit2.Oid) -> tuple[int, bytes]:
        return self.objects[oid]

    def read_header_cb(self, oid: pygit2.Oid) -> tuple[int, int]:
        kind, data = self.objects[oid]
        return kind, len(data)

    def write_cb(self, oid: pygit2.Oid, data: bytes, kind: int) -> None:
        self.objects[oid] = (kind, data)

    def exists_cb(self, oid: pygit2.Oid) -> bool:
        return oid in self.objects

    def read_prefix_cb(self, oid: pygit2.Oid) -> None:
        raise KeyError(oid)

    def exists_prefix_cb(self, oid: pygit2.Oid) -> None:
        raise KeyError(oid)

    def refresh_cb(self) -> None:
        pass

    def __iter__(self) -> Iterator[pygit2.Oid]:
        return iter(self.objects)


@dataclass
class MergeBudget:
    """How many bytes one request may still merge, what its merge bases are merged from included."""

    bytes_left: int = MergeBounds.bytes_max


class ContentMerger:
    """Merges files, and counts what that takes of a request's budget."""

    def __init__(self, favor: Favor = Favor.NOBODY, budget: MergeBudget | None = None) -> None:
        self.favor = favor
        self._budget = budget or MergeBudget()

    def merge(self, base: bytes, ours: bytes, theirs: bytes) -> bytes | Refused:
        """Return the merged content, or why there is none.

        Of a binary file no lines are merged: with a favor it is one side's as a whole.

        Raises:
            TooLargeError: the merge would go through more bytes than one may.
        """
        if any(map(is_binary, (base, ours, theirs))):
            return {Favor.OURS: ours, Favor.THEIRS: theirs}.get(self.favor, Refused.BINARY)
        if not self._spend(base, ours, theirs):
            return Refused.TOO_LARGE
        memory = _InMemory()
        repo, entries = _repository(memory, base, ours, theirs)
        before, mine, others = (_tree(repo, entry) for entry in entries)
        index = repo.merge_trees(before, mine, others, favor=self.favor.value, flags=MergeFlag(0))
        if index.conflicts is not None:
            return Refused.CONTENT
        [entry] = index
        return memory.objects[entry.id][1]

    def _spend(self, base: bytes, ours: bytes, theirs: bytes) -> bool:
        """Whether the contents are small enough; counts them."""
        count = differing_bytes(base, ours) + differing_bytes(base, theirs)
        if count > 2 * MergeBounds.file_bytes_max:
            return False
        self._budget.bytes_left -= count
        if self._budget.bytes_left < 0:
            raise TooLargeError.of(
                "source",
                f"the files that both sides changed differ in more than {MergeBounds.bytes_max} bytes: merge in steps, "
                "an older commit of the source first",
                bound="merged_bytes_max",
            )
        return True


def _repository(memory: _InMemory, *contents: bytes) -> tuple[pygit2.Repository, list[pygit2.IndexEntry]]:
    odb = pygit2.Odb()
    odb.add_backend(memory, 1)
    repo = pygit2.Repository()
    repo.set_odb(odb)
    oids = [odb.write(ObjectType.BLOB, data) for data in contents]
    return repo, [pygit2.IndexEntry("file", oid, FileMode.BLOB) for oid in oids]


def _tree(repo: pygit2.Repository, entry: pygit2.IndexEntry) -> pygit2.Oid:
    """Return a tree in which that is the only file."""
    return repo.odb.write(ObjectType.TREE, b"100644 %b\0%b" % (str(entry.path).encode(), entry.id.raw))


def with_markers(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """Return both sides with git's markers around what conflicts; None where they are not text.

    Bytes stand for themselves: libgit2's answer comes as text, and not all files are UTF-8.
    """
    if any(b"\0" in data for data in (base, ours, theirs)):
        return None
    as_text = [data.decode("latin-1").encode() for data in (base, ours, theirs)]
    repo, entries = _repository(_InMemory(), *as_text)
    before, mine, others = entries
    merged = repo.merge_file_from_index(before, mine, others, use_deprecated=False)
    text: str = merged.contents
    return text.encode("latin-1")


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file: the first (from 1), and how many; with none, those that would be there begin there."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Hunk:
    """Lines of the base that both sides changed, and what each has there."""

    base: Lines
    ours: Lines
    theirs: Lines


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines of the base, from 0, and by how many there are more afterwards."""

    begin: int
    end: int
    grown: int
    is_ours: bool


def conflicting_hunks(base: bytes, ours: bytes, theirs: bytes) -> list[Hunk]:
    """Return where both sides changed the same or adjacent lines, and not alike."""
    changes = [*_changes(base, ours, is_ours=True), *_changes(base, theirs, is_ours=False)]
    changes.sort(key=lambda change: (change.begin, change.end))
    groups: list[list[_Change]] = []
    reached = -1
    for change in changes:
        if change.begin > reached:
            groups.append([])
        groups[-1].append(change)
        reached = max(reached, change.end)
    lines_of_ours, lines_of_theirs = ours.split(b"\n"), theirs.split(b"\n")
    hunks, grown_ours, grown_theirs = [], 0, 0
    for group in groups:
        begin, end = group[0].begin, max(change.end for change in group)
        by_ours = sum(change.grown for change in group if change.is_ours)
        by_theirs = sum(change.grown for change in group if not change.is_ours)
        if len({change.is_ours for change in group}) > 1:
            hunk = Hunk(
                Lines(begin + 1, end - begin),
                Lines(begin + grown_ours + 1, end - begin + by_ours),
                Lines(begin + grown_theirs + 1, end - begin + by_theirs),
            )
            if _some(lines_of_ours, hunk.ours) != _some(lines_of_theirs, hunk.theirs):
                hunks.append(hunk)
        grown_ours += by_ours
        grown_theirs += by_theirs
    return hunks


def _changes(old: bytes, new: bytes, *, is_ours: bool) -> Iterator[_Change]:
    patch = pygit2.Patch.create_from(old, new, flag=pygit2.enums.DiffOption.FORCE_TEXT, context_lines=0)
    for hunk in patch.hunks:
        begin = hunk.old_start - 1 if hunk.old_lines else hunk.old_start
        yield _Change(begin, begin + hunk.old_lines, hunk.new_lines - hunk.old_lines, is_ours)


def _some(lines: list[bytes], wanted: Lines) -> list[bytes]:
    return lines[wanted.first - 1 : wanted.first - 1 + wanted.count]
