"""What a replay sends for each commit, what it leaves out and why, and the tree that must come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.validation import check_path
from memrepo_worker.git.objects import MODE_EXECUTABLE, MODE_FILE, TreeEntry
from memrepo_worker.replay.source import SourceChange, SourceCommit

_KINDS = {"120000": "is a symbolic link", "160000": "is a submodule"}


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One file to write, or (``entry`` is None) to delete. ``size`` is in bytes."""

    path: str
    entry: TreeEntry | None
    size: int


Part = tuple[PlannedChange, ...]
"""The changes of one request."""


@dataclass
class Plan:
    """The state of a replay, moved on commit by commit.

    ``files`` is the tree that memrepo must hold now; ``left_out`` says of each other path of the original why it
    is not in it.
    """

    limits: Limits
    size_of: Callable[[str], int]
    files: dict[str, TreeEntry] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    old_modes: set[str] = field(default_factory=set)
    _folded_files: dict[str, str] = field(default_factory=dict)
    _folded_folders: Counter[str] = field(default_factory=Counter)

    @property
    def exact(self) -> bool:
        """Whether the tree must now be the original's to the bit."""
        return not self.left_out and not self.old_modes

    def advance(self, commit: SourceCommit) -> list[Part]:
        """Take in the next commit; return what to send for it: at least one part, in order."""
        gone = [change for change in commit.changes if change.entry is None]
        written = [change for change in commit.changes if change.entry is not None]
        # Deletes first: a file may become a folder, or change its name only in case.
        changes = [planned for change in gone for planned in self._forget(change.path)]
        changes += [planned for change in written for planned in self._forget_replaced(change)]
        changes += [planned for change in written for planned in self._write(change)]
        parts = list(self._parts(changes))
        self.requests += len(parts)
        return parts

    def _forget(self, path: str) -> Iterator[PlannedChange]:
        self.left_out.pop(path, None)
        self.old_modes.discard(path)
        if self.files.pop(path, None) is None:
            return
        folded = path.casefold()
        del self._folded_files[folded]
        self._folded_folders.subtract(_folders(folded))
        yield PlannedChange(path, None, 0)

    def _forget_replaced(self, change: SourceChange) -> Iterator[PlannedChange]:
        """Forget a file whose new state is left out."""
        if self._fault_alone(change) is not None:
            yield from self._forget(change.path)

    def _write(self, change: SourceChange) -> Iterator[PlannedChange]:
        path, entry = change.path, change.entry
        assert entry is not None
        fault = self._fault_alone(change) or self._fault_beside_others(path)
        if fault is not None:
            self.left_out[path] = fault
            self.reasons[fault] += 1
            return
        self.left_out.pop(path, None)
        self._remember(path, entry)
        yield PlannedChange(path, self.files[path], self.size_of(entry.sha))

    def _remember(self, path: str, entry: TreeEntry) -> None:
        folded = path.casefold()
        if path not in self.files:
            self._folded_files[folded] = path
            self._folded_folders.update(_folders(folded))
        if entry.mode in (MODE_FILE, MODE_EXECUTABLE):
            self.old_modes.discard(path)
        else:  # 100664, which git wrote before 2005
            self.old_modes.add(path)
            entry = TreeEntry(MODE_FILE, entry.sha)
        self.files[path] = entry

    def _fault_alone(self, change: SourceChange) -> str | None:
        """Say why memrepo does not keep such a file, or None."""
        assert change.entry is not None
        if not change.entry.is_file:
            return _KINDS.get(change.entry.mode, f"has mode {change.entry.mode}")
        try:
            check_path(change.path, self.limits, "path")
        except InvalidRequestError as error:
            return error.message.removeprefix("path: ")
        if self.size_of(change.entry.sha) > self.limits.file_bytes_max:
            return f"is over file_bytes_max ({self.limits.file_bytes_max} bytes)"
        return None

    def _fault_beside_others(self, path: str) -> str | None:
        folded = path.casefold()
        other = self._folded_files.get(folded, path)
        if other != path:
            return "differs from another path only in case"
        if self._folded_folders[folded] > 0 or any(
            folder in self._folded_files for folder in _folders(folded)
        ):
            return "is a file where another path, but for case, has a folder"
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


def _folders(path: str) -> list[str]:
    """Return every folder above a path."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
