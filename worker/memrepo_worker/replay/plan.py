"""What a replay sends for each commit, what it leaves out and why, and the tree that must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from memrepo.limits import Limits
from memrepo.validation.names import PathSet
from memrepo.validation.values import fault_of_path
from memrepo_worker.git.objects import MODE_FILE, TreeEntry
from memrepo_worker.replay.source import SourceChange, SourceCommit

_KINDS = {"120000": "is a symbolic link", "160000": "is a submodule"}


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One file to write, or (``entry`` is None) to delete. ``size`` is in bytes."""

    path: str
    entry: TreeEntry | None
    size: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One file of one commit that was not sent, and why."""

    path: str
    commit: str
    reason: str


Part = tuple[PlannedChange, ...]
"""The changes of one request."""


@dataclass
class Plan:
    """The state of a replay, moved on commit by commit.

    ``files`` is the tree that memrepo must hold now; ``left_out`` says of each other path of the original why it
    is not in it; ``omissions`` are all that there ever were, in order.
    """

    limits: Limits
    size_of: Callable[[str], int]
    files: dict[str, TreeEntry] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    omissions: list[LeftOut] = field(default_factory=list)
    requests: int = 0
    _names: PathSet = field(default_factory=PathSet)
    _crowded_out: dict[str, TreeEntry] = field(default_factory=dict)  # left out for others' sake alone

    def advance(self, commit: SourceCommit) -> list[Part]:
        """Take in the next commit; return what to send for it: at least one part, in order."""
        written = [change for change in commit.changes if change.entry is not None]
        # Of a tree in another order than git's, a file may seem to go and come again.
        stay = {change.path for change in written}
        gone = [change for change in commit.changes if change.entry is None and change.path not in stay]
        # Deletes first: a file may become a folder, or change its name only in case.
        changes = [planned for change in gone for planned in self._forget(change.path)]
        changes += [planned for change in written for planned in self._forget_replaced(change)]
        changes += [planned for change in written for planned in self._write(change, commit.sha)]
        changes += self._write_where_there_is_room()
        parts = list(self._parts(changes))
        self.requests += len(parts)
        return parts

    def _forget(self, path: str) -> Iterator[PlannedChange]:
        self.left_out.pop(path, None)
        self._crowded_out.pop(path, None)
        if self.files.pop(path, None) is None:
            return
        self._names.remove(path)
        yield PlannedChange(path, None, 0)

    def _forget_replaced(self, change: SourceChange) -> Iterator[PlannedChange]:
        """Forget a file whose new state is left out."""
        if self._fault_alone(change) is not None:
            yield from self._forget(change.path)

    def _write(self, change: SourceChange, commit: str) -> Iterator[PlannedChange]:
        path, entry = change.path, change.entry
        assert entry is not None
        fault = self._fault_alone(change)
        clash = self._names.clash(path) if fault is None else None
        if clash is not None:
            fault = clash.rule
            self._crowded_out[path] = entry
        if fault is not None:
            self.left_out[path] = fault
            self.omissions.append(LeftOut(path, commit, fault))
            return
        yield self._take(path, entry)

    def _write_where_there_is_room(self) -> Iterator[PlannedChange]:
        """Write what was left out for the sake of files that have gone since."""
        for path, entry in list(self._crowded_out.items()):
            if self._names.clash(path) is None:
                yield self._take(path, entry)

    def _take(self, path: str, entry: TreeEntry) -> PlannedChange:
        self.left_out.pop(path, None)
        self._crowded_out.pop(path, None)
        self._names.add(path)
        if not entry.executable:  # also 100664, which git wrote before 2005
            entry = TreeEntry(MODE_FILE, entry.sha)
        self.files[path] = entry
        return PlannedChange(path, entry, self.size_of(entry.sha))

    def _fault_alone(self, change: SourceChange) -> str | None:
        """Say why memrepo does not keep such a file, whatever is beside it, or None."""
        assert change.entry is not None
        if not change.entry.is_file:
            return _KINDS.get(change.entry.mode, f"has mode {change.entry.mode}")
        fault = fault_of_path(change.path, self.limits)
        if fault is not None:
            return fault
        size = self.size_of(change.entry.sha)
        if size > self.limits.file_bytes_max:
            return f"is over file_bytes_max ({self.limits.file_bytes_max} bytes)"
        if size + len(change.path.encode()) > self.limits.request_bytes_max:
            return f"is over request_bytes_max ({self.limits.request_bytes_max} bytes)"
        return None

    def _parts(self, changes: list[PlannedChange]) -> Iterator[Part]:
        """Split one commit's changes so that each request is within the limits."""
        part: list[PlannedChange] = []
        size = 0
        for change in changes:
            weight = change.size + len(change.path.encode())
            if part and (
                len(part) == self.limits.changes_max or size + weight > self.limits.request_bytes_max
            ):
                yield tuple(part)
                part, size = [], 0
            part.append(change)
            size += weight
        yield tuple(part)
