"""A folder of files as an ordered listing of keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memrepo_worker.store.backends.file_names import CONTINUED, part_of, path_of
from memrepo_worker.store.interface import ListedObject


@dataclass(frozen=True, slots=True)
class _Node:
    """A file, or a folder whose key ends in ``/``."""

    key: str
    path: str

    @property
    def is_folder(self) -> bool:
        return self.key.endswith("/")


def listed(root: Path, prefix: str, start_after: str) -> Iterator[ListedObject]:
    """Yield the objects below a folder in order of their keys, reading only folders that can hold some."""
    folder, slash, _ = prefix.rpartition("/")
    top = _Node(folder + slash, str(path_of(root, folder) if folder else root))
    yield from _walk(top, prefix, start_after)


def _walk(folder: _Node, prefix: str, start_after: str) -> Iterator[ListedObject]:
    for node in sorted(_children(folder.path, folder.key), key=lambda node: node.key):
        if node.is_folder:
            if _may_hold(node.key, prefix, start_after):
                yield from _walk(node, prefix, start_after)
        elif node.key.startswith(prefix) and node.key > start_after:
            size = _size(node.path)
            if size is not None:
                yield ListedObject(node.key, size)


def _may_hold(folder_key: str, prefix: str, start_after: str) -> bool:
    within = folder_key.startswith(prefix) or prefix.startswith(folder_key)
    return within and (folder_key > start_after or start_after.startswith(folder_key))


def _children(folder: str, key: str) -> Iterator[_Node]:
    """Yield what a folder holds, with the children of folders that only go on with a long component."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        part = part_of(entry.name)
        if part is None:
            continue
        if not entry.is_dir():
            yield _Node(key + part, entry.path)
        elif entry.name.endswith(CONTINUED):
            yield from _children(entry.path, key + part)
        else:
            yield _Node(f"{key}{part}/", entry.path)


def _size(path: str) -> int | None:
    """Return a file's size in bytes, or None if it was removed meanwhile."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return None
