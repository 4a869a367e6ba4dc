"""A folder of files as an ordered listing of keys. A link is listed as what it is: an object that cannot be read.

A folder gives its names in no order, so it is read again for each page of them: in memory there is one page. And it
may leave out a name that was made while it was read, and give one that was made later. An object store does not: what
was created key by key is listed without a gap (``_page``).
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import attrgetter

from memrepo_worker.store.backends.files.beneath import Beneath
from memrepo_worker.store.backends.files.names import (
    CONTINUED,
    NAME_BYTES_MAX,
    NAMES_MAX,
    names_of_key,
    part_of,
)
from memrepo_worker.store.interface import FolderPage, ListedObject
from memrepo_worker.store.unnamed import UnnamedFile

_PAGE_NODES = 100_000
"""How many files and folders of one folder are in memory at once; it is read twice for each so many."""


_key = attrgetter("key")


@dataclass(frozen=True, slots=True)
class _Node:
    """A file, or a folder whose key ends in ``/``; ``names`` lead to it from the root.

    What is not ``is_named`` has a name that stands for no part of a key: ``key`` is where it lies.
    """

    key: str
    names: tuple[str, ...]
    is_named: bool = True

    @property
    def is_folder(self) -> bool:
        return self.is_named and self.key.endswith("/")

    @property
    def is_object(self) -> bool:
        """Whether the key leads to this file: else it would be listed, and could be neither read nor removed."""
        if not self.is_named:
            return False
        if not any(CONTINUED in name or len(name) > NAME_BYTES_MAX for name in self.names):
            return True  # each name is the part of the key that it stands for
        try:
            return (*names_of_key(self.key),) == self.names
        except ValueError:
            return False


def listed(
    beneath: Beneath, prefix: str, start_after: str, *, unnamed: bool = False
) -> Iterator[ListedObject]:
    """Yield the objects below a folder in order of their keys, reading only folders that can hold some.

    ``unnamed``: also the files, and folders, whose names stand for no part of a key.
    """
    folder, slash, _ = prefix.rpartition("/")
    top = _Node(folder + slash, tuple(names_of_key(folder)) if folder else ())
    yield from _walk(beneath, top, _Asked(prefix, start_after, unnamed))


def folders(beneath: Beneath, prefix: str, after: str, names_max: int) -> FolderPage:
    """Return some folders of a folder, in order of their keys."""
    folder, slash, _ = prefix.rpartition("/")
    top = tuple(names_of_key(folder)) if folder else ()
    after_key = f"{folder}{slash}{after}/" if after else ""
    keys = heapq.nsmallest(
        names_max + 1,
        (
            node.key
            for node in _children(beneath, top, folder + slash)
            if node.is_folder and node.key.startswith(prefix) and node.key > after_key
        ),
    )
    names = [key[len(folder + slash) : -1] for key in keys[:names_max]]
    return FolderPage(names, len(keys) > names_max)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What of a folder is listed."""

    prefix: str
    start_after: str
    unnamed: bool

    def includes(self, node: _Node) -> bool:
        if node.is_folder:
            return self._may_be_in(node.key)
        if not node.key.startswith(self.prefix) or node.key <= self.start_after:
            return False
        return self.unnamed or node.is_object

    def _may_be_in(self, folder_key: str) -> bool:
        within = folder_key.startswith(self.prefix) or self.prefix.startswith(folder_key)
        return within and (folder_key > self.start_after or self.start_after.startswith(folder_key))


def _walk(beneath: Beneath, top: _Node, asked: _Asked) -> Iterator[ListedObject]:
    """Yield what is below a folder, without a frame of Python for each level: others say how deep it is."""
    levels = [_in_order(beneath, top, asked)]
    while levels:
        node = next(levels[-1], None)
        if node is None:
            levels.pop()
        elif node.is_folder:
            levels.append(_in_order(beneath, node, asked))
        elif asked.unnamed and not node.is_object:
            yield UnnamedFile(node.key, (_size(beneath, node.names) or 0) if node.key[-1] != "/" else 0)
        else:
            size = _size(beneath, node.names)
            if size is not None:
                yield ListedObject(node.key, size)


def _in_order(beneath: Beneath, folder: _Node, asked: _Asked) -> Iterator[_Node]:
    """Yield what a folder holds of what is asked for, in order of their keys, in memory one page at a time."""
    after: str | None = ""
    while after is not None:
        page = _page(partial(_asked_for, beneath, folder, asked, after))
        yield from page
        after = page[-1].key if len(page) == _PAGE_NODES else None


def _page(read: Callable[[], Iterator[_Node]]) -> Sequence[_Node]:
    """Return the first nodes of a folder by reading it twice, so that none is given without those made before it.

    What the first reading gave was there when it ended, and so were the keys that sort before it and were made earlier:
    the second reading, which begins later, gives those. What is new beyond them is left for another listing.
    """
    nodes = heapq.nsmallest(_PAGE_NODES, read(), key=_key)
    if not nodes:
        return nodes
    last = _key(nodes[-1])
    later = (node for node in read() if node.key <= last)
    found: dict[object, _Node] = {
        node.key if node.is_named else node.names: node for node in chain(nodes, later)
    }
    return heapq.nsmallest(_PAGE_NODES, found.values(), key=_key)


def _asked_for(beneath: Beneath, folder: _Node, asked: _Asked, after: str) -> Iterator[_Node]:
    for node in _children(beneath, folder.names, folder.key, unnamed=asked.unnamed):
        if node.key > after and asked.includes(node):
            yield node


def _children(
    beneath: Beneath, names: tuple[str, ...], key: str, *, unnamed: bool = False
) -> Iterator[_Node]:
    """Yield what a folder holds, with the children of folders that only go on with a long component."""
    unread = [(names, key)]
    while unread:
        names, key = unread.pop()
        with suppress(FileNotFoundError), beneath.folder(names) as folder, os.scandir(folder) as entries:
            for entry in entries:
                part = part_of(entry.name)
                below = (*names, entry.name)
                if part is None:
                    if unnamed:
                        end = "/" if entry.is_dir(follow_symlinks=False) else ""
                        yield _Node(f"{key}{_shown(entry.name)}{end}", below, is_named=False)
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    yield _Node(key + part, below)
                elif len(below) >= NAMES_MAX:
                    if unnamed:
                        yield _Node(f"{key}{part}/", below, is_named=False)
                elif entry.name.endswith(CONTINUED):
                    unread.append((below, key + part))
                else:
                    yield _Node(f"{key}{part}/", below)


def _shown(name: str) -> str:
    """Return a file's name for people: what is no text in it as escapes."""
    return name.encode(errors="backslashreplace").decode()


def _size(beneath: Beneath, names: tuple[str, ...]) -> int | None:
    """Return a file's size in bytes, or None if it was removed meanwhile."""
    try:
        with beneath.folder(names[:-1]) as folder:
            return os.stat(names[-1], dir_fd=folder, follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
