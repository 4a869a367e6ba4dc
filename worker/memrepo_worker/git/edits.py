"""Changing files in a tree: from a root tree and a set of edits to the new root, touching only what changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from memrepo.validation.names import told_as_one
from memrepo_worker.git.objects import (
    BYTES_MAX,
    MODE_EXECUTABLE,
    MODE_FILE,
    MODE_TREE,
    GitObject,
    Kind,
    TreeEntry,
    encode_tree,
    object_id,
)
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.trees.stored import changed, find_twins_in

_TREE_BYTES_MAX = BYTES_MAX[Kind.TREE]


class TreeConflictError(Exception):
    """An edit does not fit the tree: ``path`` says where, ``reason`` why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r} {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class FileEdit:
    """One file to write, or with ``data=None`` to delete. ``executable=None`` keeps the file's mode.

    ``entry`` is written instead of data where the repository has the object already, as for a file that was moved.
    """

    path: str
    data: bytes | None
    executable: bool | None = None
    entry: TreeEntry | None = None

    @property
    def writes(self) -> bool:
        """Whether there is a file afterwards."""
        return self.data is not None or self.entry is not None


@dataclass(slots=True)
class _Node:
    """The edits at and below one name."""

    edit: FileEdit | None = None
    children: dict[str, _Node] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether anything at or below is written."""
        if self.edit is not None and self.edit.writes:
            return True
        return any(child.writes for child in self.children.values())


class TreeEditor:
    """Applies edits to trees; collects the new objects in ``objects`` by id.

    ``bases`` maps the id of each file that had another content before to the id of that; ``spared`` are the folders
    whose own path was to be deleted, which deletes nothing of what is in them. Where it is to go on past
    names that some file systems take for a neighbour's, it leaves these out, and ``twins`` says which they are.
    """

    def __init__(self, reader: Reader, *, passes_over_twins: bool = False) -> None:
        self._reader = reader
        self._passes_over_twins = passes_over_twins
        self.objects: dict[str, GitObject] = {}
        self.bases: dict[str, str] = {}
        self.twins: list[TreeConflictError] = []
        self.spared: list[str] = []

    def apply(self, root: str | None, edits: Iterable[FileEdit]) -> str:
        """Return the id of the root tree after the edits; equal to ``root`` when nothing changed.

        Deletions come before writes, so a file may make room for a folder of its name. Deleting what is not there
        is no error.

        Raises:
            TreeConflictError: a file would be inside a file, replace a folder, or have a name that some file systems
                take for a neighbour's; or a folder would have too many files.
        """
        top = _Node()
        for edit in edits:
            node = top
            for name in edit.path.split("/"):
                node = node.children.setdefault(name, _Node())
            node.edit = edit
        return self._folder(root, top, "") or self._add(encode_tree({}))

    def _folder(self, sha: str | None, node: _Node, prefix: str) -> str | None:
        """Return the id of a folder after its edits, or None when nothing is left in it."""
        before = {} if sha is None else self._reader.tree(sha)
        changes: dict[str, TreeEntry | None] = {}
        for name, child in node.children.items():
            there = before.get(name)
            entry = self._entry(there, child, prefix + name)
            if entry != there:
                changes[name] = entry
        if not changes:
            return sha
        tree, entries = changed(before, changes)
        new = [name for name in changes if name not in before and name in entries]
        twins = find_twins_in(entries, set(new)) if new else {}
        if twins:
            self._tell_twins(twins, prefix)
            tree, entries = changed(before, {**changes, **dict.fromkeys(twins)})
        if not entries:
            return None
        if len(tree.data) > _TREE_BYTES_MAX:
            raise TreeConflictError(prefix or ".", "would be a folder of more files than can be read again")
        made = self._add(tree)
        self._reader.remember_tree(made, entries)
        return made

    def _tell_twins(self, twins: Mapping[str, str], prefix: str) -> None:
        """Note new names that some file systems would take for a neighbour's; or refuse the first."""
        for name, other in twins.items():
            clash = TreeConflictError(prefix + name, told_as_one(prefix + name, prefix + other))
            if not self._passes_over_twins:
                raise clash
            self.twins.append(clash)

    def _entry(self, entry: TreeEntry | None, node: _Node, path: str) -> TreeEntry | None:
        """Return what stands under one name after the edits at and below it."""
        edit = node.edit
        was_folder = entry is not None and entry.is_tree
        if edit is not None and not edit.writes and not was_folder:
            entry = None
        if node.children:
            entry = self._below(entry, node, path)
        if edit is not None and edit.writes:
            if entry is not None and entry.is_tree:
                raise TreeConflictError(path, "is a folder")
            entry = edit.entry or self._file(entry, edit, edit.data or b"")
        elif edit is not None and was_folder and entry is not None:
            self.spared.append(path)
        return entry

    def _below(self, entry: TreeEntry | None, node: _Node, path: str) -> TreeEntry | None:
        """Return a folder's entry after the edits below it."""
        if entry is not None and not entry.is_tree:
            if any(child.writes for child in node.children.values()):
                raise TreeConflictError(path, "is a file, so nothing can be inside it")
            return entry
        sha = self._folder(entry.sha if entry else None, node, f"{path}/")
        return None if sha is None else TreeEntry(MODE_TREE, sha)

    def _file(self, entry: TreeEntry | None, edit: FileEdit, data: bytes) -> TreeEntry:
        executable = edit.executable
        if executable is None:
            executable = entry is not None and entry.executable
        mode = MODE_EXECUTABLE if executable else MODE_FILE
        blob = GitObject(Kind.BLOB, data)
        sha = object_id(blob)
        if entry is None or entry.sha != sha:
            self.objects[sha] = blob
            if entry is not None and entry.is_file:
                self.bases[sha] = entry.sha
        return TreeEntry(mode, sha)

    def _add(self, item: GitObject) -> str:
        sha = object_id(item)
        self.objects[sha] = item
        return sha
