"""A large tree as it is stored: of its entries only those that are asked for become Python's.

A folder of 10,000 entries takes 25 ms of Python's lock to be decoded whole, during which no other agent is served, and
3 MB; as it is stored 2 ms to be checked, a binary search for a name, and 0.4 MB.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, Sequence
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
        if len(set(names)) < len(names) or _is_suspect(names):
            decode_safe_tree(data)  # one by one: most names that look so are others
        self.data = data
        self._starts = array("I", accumulate(map(len, _LINE.findall(data)), initial=0))
        self._is_in_order: bool | None = None

    @classmethod
    def _made(cls, data: bytes, starts: array[int]) -> StoredTree:
        """Return a tree that is known to be one, in order, with lines that begin there."""
        tree = cls.__new__(cls)
        tree.data, tree._starts, tree._is_in_order = data, starts, True
        return tree

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
        if not self.is_in_order:  # git makes no such tree, but may be given one
            return dict(self.items())[name]
        for key in (raw, raw + b"/"):  # of a file, and of a folder
            number, is_there = self._find(key)
            if is_there:
                return _entry_of(self._line_at(number))
        raise KeyError(name)

    @property
    def is_in_order(self) -> bool:
        """Whether its entries are in git's order; they are all looked at once."""
        if self._is_in_order is None:
            keys = [*map(_sort_key, _LINE.findall(self.data))]
            self._is_in_order = keys == sorted(keys)
        return self._is_in_order

    def _find(self, key: bytes) -> tuple[int, bool]:
        """Return the number of the line with a key, or before which it belongs, and whether there is one."""
        number = bisect_left(range(len(self)), key, key=self._key_at)
        return number, number < len(self) and self._key_at(number) == key

    def changed(self, changes: Mapping[str, TreeEntry | None]) -> StoredTree:
        """Return the tree, which is in order, after changes: of all other lines the bytes are taken as they are.

        Raises:
            ValueError: a new name may be in no tree.
        """
        gone, new = set[int](), dict[int, list[tuple[bytes, bytes]]]()
        for name, entry in changes.items():
            raw = name.encode(errors="surrogateescape")
            for key in (raw, raw + b"/"):
                number, is_there = self._find(key)
                if is_there:
                    gone.add(number)
            if entry is not None:
                line = encode_tree_line(name, entry)
                decode_safe_tree(line)
                new.setdefault(self._find(_sort_key(line))[0], []).append((_sort_key(line), line))
        parts, starts, done = list[bytes](), array("I", [0]), 0
        for number in sorted(gone | new.keys()):
            self._copy(done, number, parts, starts)
            for _, line in sorted(new.get(number, ())):
                parts.append(line)
                starts.append(starts[-1] + len(line))
            done = number + (number in gone)
        self._copy(done, len(self), parts, starts)
        return StoredTree._made(b"".join(parts), starts)

    def _copy(self, first: int, end: int, parts: list[bytes], starts: array[int]) -> None:
        """Add some of the lines, and where each of them ends."""
        ends = self._starts[first + 1 : end + 1]
        if ends:
            parts.append(self.data[self._starts[first] : ends[-1]])
            shift = starts[-1] - self._starts[first]
            starts.extend(array("I", [place + shift for place in ends]) if shift else ends)

    def apart_from(self, other: StoredTree) -> tuple[Sequence[bytes], Sequence[bytes]]:
        """Return the lines of either between the first and the last that differ: all others are in both."""
        number = bisect_right(self._starts, _alike(self.data, other.data)) - 1
        first = self._starts[number]
        below = _alike(self.data[first:], other.data[first:], from_end=True)
        end = self._starts[bisect_left(self._starts, len(self.data) - below, lo=number)]
        other_end = end + len(other.data) - len(self.data)
        # The end of a long name there may look like a line of its own here.
        if not other._has_a_line_end_at(other_end):
            end, other_end = len(self.data), len(other.data)
        return _LINE.findall(self.data, first, end), _LINE.findall(other.data, first, other_end)

    def _has_a_line_end_at(self, place: int) -> bool:
        number = bisect_left(self._starts, place)
        return number < len(self._starts) and self._starts[number] == place

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
    if type(entries) is StoredTree:  # what is an instance of an abstract class, is asked in Python
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
    if isinstance(before, StoredTree) and before.is_in_order:
        made = before.changed(changes)
        is_large = len(made.data) >= LARGE_BYTES
        return GitObject(Kind.TREE, made.data), made if is_large else decode_safe_tree(made.data)
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
    if isinstance(one, StoredTree) and isinstance(other, StoredTree):
        ones, others = map(set, one.apart_from(other))
    else:
        ones, others = set(_lines_of(one)), set(_lines_of(other))
    return _decoded(ones - others), _decoded(others - ones)


def _decoded(lines: Iterable[bytes]) -> dict[str, TreeEntry]:
    return {_name_of(line): _entry_of(line) for line in lines}


def _lines_of(tree: Mapping[str, TreeEntry]) -> Iterable[bytes]:
    if isinstance(tree, StoredTree):
        return _LINE.findall(tree.data)
    return (encode_tree_line(name, entry) for name, entry in tree.items())


def _alike(one: bytes, other: bytes, *, from_end: bool = False) -> int:
    """Return how many bytes two begin with alike, or end with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        places = [
            (len(each) - middle, len(each) - low) if from_end else (low, middle) for each in (one, other)
        ]
        (start, end), (other_start, other_end) = places
        is_alike = one[start:end] == other[other_start:other_end]
        low, high = (middle, high) if is_alike else (low, middle - 1)
    return low


def _is_suspect(names: Collection[bytes]) -> bool:
    """Whether one of some names may be such as ``decode_safe_tree`` refuses; most that seem so are not."""
    joined = b"\0".join(names)
    return (
        not joined.isascii()
        or b"/" in joined
        or b"git" in joined.lower()
        or not {b".", b".."}.isdisjoint(names)
    )


def _sort_key(line: bytes) -> bytes:
    mode, _, name = line[:-_ID_BYTES].partition(b" ")
    return name[:-1] + b"/" if mode == _TREE_MODE else name[:-1]


def _name_of(line: bytes) -> str:
    return line[line.index(b" ") + 1 : -_ID_BYTES - 1].decode(errors="surrogateescape")


def _entry_of(line: bytes) -> TreeEntry:
    return TreeEntry(line[: line.index(b" ")].decode(), line[-_ID_BYTES:].hex())
