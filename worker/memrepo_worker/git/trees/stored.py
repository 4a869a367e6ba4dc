"""A large tree as it is stored: of its entries only those that are asked for become Python's.

A folder of 10,000 entries takes 25 ms of Python's lock to be decoded whole, during which no other agent is served, and
3 MB; as it is stored 2 ms to be checked, a binary search for a name, and 0.4 MB.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping
from itertools import accumulate, pairwise

from typing_extensions import override

from memrepo.validation.names import find_twins, folded
from memrepo_worker.git.objects import (
    MODE_TREE,
    GitObject,
    Kind,
    TreeEntry,
    decode_safe_tree,
    encode_ordered_tree,
    encode_tree_line,
    in_git_order,
)

LARGE_BYTES = 32 * 1024
"""From this on a tree stays as it is stored; some 1,000 entries."""

_LINE = re.compile(rb"[!-~]* [^\0]+\0[\s\S]{20}")
_LINES = re.compile(rb"(?:[!-~]* [^\0]+\0[\s\S]{20})*+")
_NAME = re.compile(rb"[!-~]* ([^\0]+)\0[\s\S]{20}")
_SUSPECT = re.compile(rb"[/\x80-\xff]|git|(?:\A|\0)\.\.?(?:\0|\Z)", re.IGNORECASE)
_ID_BYTES = 20
# In memory where decoded, with name, id and mode; trees of one history share most of theirs.
_ENTRY_BYTES = 300
_TREE_MODE = MODE_TREE.encode()


def decode_tree_of_any_size(data: bytes) -> Mapping[str, TreeEntry]:
    """Return a tree's entries by name; a large one stays as it is stored. Raises what ``decode_safe_tree`` does."""
    return decode_safe_tree(data) if len(data) < LARGE_BYTES else StoredTree(data)


class StoredTree(Mapping[str, TreeEntry]):
    """The entries of a tree by name, in git's order, taken from its bytes where they are asked for."""

    __slots__ = ("_is_in_order", "_starts", "data")

    def __init__(self, data: bytes) -> None:
        """Check a tree.

        Raises:
            ValueError: as ``decode_safe_tree``.
        """
        if _LINES.fullmatch(data) is None:
            raise ValueError("a tree that ends early")
        names = _NAME.findall(data)
        if len(set(names)) < len(names) or _SUSPECT.search(b"\0".join(names)):
            decode_safe_tree(data)  # one by one: most names that look so are others
        self.data = data
        self._starts = array("I", accumulate(map(len, _LINE.findall(data)), initial=0))
        self._is_in_order: bool | None = None

    def names(self) -> list[bytes]:
        """Return the names, as they are stored."""
        return _NAME.findall(self.data)

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory."""
        return len(self.data) + self._starts.itemsize * len(self._starts)

    @override
    def __getitem__(self, name: str) -> TreeEntry:
        try:
            raw = name.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            raise KeyError(name) from None
        if self._is_in_order is None:
            keys = [*map(_sort_key, self.lines())]
            self._is_in_order = keys == sorted(keys)
        if not self._is_in_order:  # git makes no such tree, but may be given one
            return dict(self.items())[name]
        for key in (raw, raw + b"/"):  # of a file, and of a folder
            number = bisect_left(range(len(self)), key, key=self._key_at)
            if number < len(self) and self._key_at(number) == key:
                return _entry_of(self._line_at(number))
        raise KeyError(name)

    def _key_at(self, number: int) -> bytes:
        return _sort_key(self._line_at(number))

    def _line_at(self, number: int) -> bytes:
        return self.data[self._starts[number] : self._starts[number + 1]]

    @override
    def __iter__(self) -> Iterator[str]:
        return (_name_of(line) for line in self.lines())

    @override
    def __len__(self) -> int:
        return len(self._starts) - 1

    @override
    def items(self) -> ItemsView[str, TreeEntry]:
        """Return its entries with their names, each made when one comes to it."""
        return _Items(self)

    def lines(self) -> Iterator[bytes]:
        """Yield its entries as they are stored."""
        return (self.data[start:end] for start, end in pairwise(self._starts))


class _Items(ItemsView[str, TreeEntry]):
    def __init__(self, tree: StoredTree) -> None:
        super().__init__(tree)
        self._tree = tree

    @override
    def __iter__(self) -> Iterator[tuple[str, TreeEntry]]:
        return ((_name_of(line), _entry_of(line)) for line in self._tree.lines())


class _OrderedTree(dict[str, TreeEntry]):
    """Entries that were put in git's order here, with the tree's bytes: what is read may be in any."""

    __slots__ = ("data",)

    data: bytes


def memory_bytes_of(entries: Mapping[str, TreeEntry]) -> int:
    """Return about how much memory a tree takes."""
    if isinstance(entries, StoredTree):
        return entries.memory_bytes
    stored_bytes = len(entries.data) if isinstance(entries, _OrderedTree) else 0
    return _ENTRY_BYTES * (1 + len(entries)) + stored_bytes


def differing(
    before: Mapping[str, TreeEntry], after: Mapping[str, TreeEntry]
) -> Iterator[tuple[str, TreeEntry | None, TreeEntry | None]]:
    """Yield what differs between two trees, by name; None stands for what is not there."""
    if isinstance(before, StoredTree) or isinstance(after, StoredTree):
        before, after = _apart(before, after)
    # Two states of a tree share the entries that nobody changed: to see that is a tenth of comparing them.
    names = [name for name, entry in after.items() if before.get(name) is not entry]
    names += [name for name in before if name not in after]
    for name in sorted(names):
        left, right = before.get(name), after.get(name)
        if left != right:
            yield name, left, right


def changed(
    before: Mapping[str, TreeEntry], changes: Mapping[str, TreeEntry | None]
) -> tuple[GitObject, Mapping[str, TreeEntry]]:
    """Return the tree in which some names stand for something else, or, where that is None, for nothing."""
    if isinstance(before, StoredTree):
        lines = _lines_changed(before, changes)
        if lines is not None:
            data = b"".join(lines)
            return GitObject(Kind.TREE, data), decode_tree_of_any_size(data)
    after = _changed_in_place(before, changes) if isinstance(before, _OrderedTree) else None
    if after is None:
        entries = {**before, **changes}
        after = _OrderedTree(
            in_git_order({name: entry for name, entry in entries.items() if entry is not None})
        )
        after.data = encode_ordered_tree(after).data
    is_large = len(after.data) >= LARGE_BYTES
    return GitObject(Kind.TREE, after.data), StoredTree(after.data) if is_large else after


def _changed_in_place(before: _OrderedTree, changes: Mapping[str, TreeEntry | None]) -> _OrderedTree | None:
    """Return a tree after changes that leave each name where it is; None where some do not."""
    places = {name: place for place, name in enumerate(before) if name in changes}
    after, lines = _OrderedTree(before), _LINE.findall(before.data)
    for name, entry in changes.items():
        there = before.get(name)
        if there is None or (entry is not None and entry.is_tree != there.is_tree):
            return None
        if entry is None:
            del after[name]
        else:
            after[name] = entry
        lines[places[name]] = b"" if entry is None else encode_tree_line(name, entry)
    after.data = b"".join(lines)
    return after


def find_twins_in(entries: Mapping[str, TreeEntry], new: Collection[str]) -> dict[str, str]:
    """Return those of the ``new`` names of a tree that some file systems take for another of it, each with that."""
    if isinstance(entries, StoredTree) and new:
        names = b"\0".join(entries.names())
        if names.isascii():
            folds = Counter(names.lower().split(b"\0"))
            if all(folds[folded(name).encode()] == 1 for name in new):
                return {}
    return find_twins(entries, new)


def _apart(
    one: Mapping[str, TreeEntry], other: Mapping[str, TreeEntry]
) -> tuple[dict[str, TreeEntry], dict[str, TreeEntry]]:
    """Return what is in each of two trees and not just so in the other."""
    ones, others = set(_lines_of(one)), set(_lines_of(other))
    return _decoded(ones - others), _decoded(others - ones)


def _decoded(lines: Iterable[bytes]) -> dict[str, TreeEntry]:
    return {_name_of(line): _entry_of(line) for line in lines}


def _lines_of(tree: Mapping[str, TreeEntry]) -> Iterable[bytes]:
    if isinstance(tree, StoredTree):
        return _LINE.findall(tree.data)
    return (encode_tree_line(name, entry) for name, entry in tree.items())


def _lines_changed(tree: StoredTree, changes: Mapping[str, TreeEntry | None]) -> list[bytes] | None:
    """Return the lines of a tree after some changes, in order; None where its own are not in order."""
    lines = _LINE.findall(tree.data)
    keys = [*map(_sort_key, lines)]
    if keys != sorted(keys):
        return None
    for name, entry in changes.items():
        raw = name.encode(errors="surrogateescape")
        for key in (raw, raw + b"/"):
            place = bisect_left(keys, key)
            if place < len(keys) and keys[place] == key:
                del lines[place], keys[place]
        if entry is not None:
            line = encode_tree_line(name, entry)
            key = _sort_key(line)
            place = bisect_left(keys, key)
            lines.insert(place, line)
            keys.insert(place, key)
    return lines


def _sort_key(line: bytes) -> bytes:
    mode, _, name = line[:-_ID_BYTES].partition(b" ")
    return name[:-1] + b"/" if mode == _TREE_MODE else name[:-1]


def _name_of(line: bytes) -> str:
    return line[line.index(b" ") + 1 : -_ID_BYTES - 1].decode(errors="surrogateescape")


def _entry_of(line: bytes) -> TreeEntry:
    return TreeEntry(line[: line.index(b" ")].decode(), line[-_ID_BYTES:].hex())
