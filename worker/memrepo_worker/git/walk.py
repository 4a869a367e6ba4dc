"""Walking trees and commits: which files a tree has, what differs between two, which commits come before one.

A few hundred bytes can stand for a billion paths, by folders that are many times in one. Where a walk comes to the
second of such, it counts all of them, so that what is too much ends after a few steps, and not after all that may be
looked at.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

from memrepo.errors import TooLargeError
from memrepo_worker.git.objects import Commit, TreeEntry
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.trees.stored import differing

_PATH_CHARS = 256
"""A path that is longer counts as several."""

_FOLDERS_MAX = 400
"""What lies below more is not listed: three times as many as a commit may make, and each takes a frame here."""


def files(reader: Reader, tree: str, prefix: str = "") -> Iterator[tuple[str, TreeEntry]]:
    """Yield path and entry of every regular file below a tree, in git's order; links and submodules are left out."""
    return _files(reader, tree, prefix, is_counted=True)


def _files(
    reader: Reader, tree: str, prefix: str, *, is_counted: bool
) -> Generator[tuple[str, TreeEntry], None, int]:
    """Yield the files; return how many entries there are below."""
    _refuse_deep(prefix)
    entries = reader.tree(tree)
    repeats = _Repeats(reader, is_counted=is_counted)
    count = len(entries)
    for name, entry in entries.items():
        reader.walked(int(is_counted))
        path = prefix + name
        count += _weigh(reader, path, is_counted=is_counted)
        if entry.is_tree:
            sha = entry.sha
            is_new = repeats.meet(sha, lambda: sum(one.sha == sha for one in entries.values()))  # noqa: B023 - at once
            below = yield from _files(reader, sha, f"{path}/", is_counted=is_new)
            repeats.walked(sha, below)
            count += below
        elif entry.is_file:
            yield path, entry
    return count


def _weigh(reader: Reader, path: str, *, is_counted: bool) -> int:
    """Return for how many entries more a long path counts; so paths take no more than some 100 MB in all."""
    more = len(path) // _PATH_CHARS
    if more and is_counted:
        reader.walked(more)
    return more


class _Repeats:
    """Which folders a walk has met in one folder, and how much is below each."""

    def __init__(self, reader: Reader, *, is_counted: bool) -> None:
        self._reader = reader
        self._is_counted = is_counted
        self._below: dict[object, int] = {}
        self._all_counted: set[object] = set()

    def meet(self, what: object, number: Callable[[], int]) -> bool:
        """Return whether what is below is still to be counted; ``number`` says how many of it there are.

        Raises:
            TooLargeError: all of them would be more than the request may look at.
        """
        below = self._below.get(what)
        if below is not None and what not in self._all_counted:
            self._all_counted.add(what)
            self._reader.walked((number() - 1) * below * self._is_counted)
        return self._is_counted and below is None

    def walked(self, what: object, below: int) -> None:
        """Note how much is below."""
        self._below[what] = below


def _refuse_deep(prefix: str) -> None:
    """Raise ``TooLargeError`` below too many folders."""
    if prefix.count("/") > _FOLDERS_MAX:
        raise TooLargeError.of(
            "ref", f"there is a folder below {_FOLDERS_MAX} others: a commit makes none, and none is listed"
        )


def files_after(reader: Reader, tree: str, start: str, after: str) -> Iterator[tuple[str, TreeEntry]]:
    """Yield, in order of the paths' bytes, the regular files whose paths begin with ``start`` and come after ``after``.

    Folders in which there can be none are not read. Git's order of a tree is that of the paths below it.
    """
    return _files_after(reader, tree, "", _bytes(start), _bytes(after))


def _files_after(
    reader: Reader, tree: str, prefix: str, start: bytes, after: bytes
) -> Iterator[tuple[str, TreeEntry]]:
    _refuse_deep(prefix)
    for name, entry in reader.tree(tree).items():
        reader.walked()
        path = prefix + name
        _weigh(reader, path, is_counted=True)
        raw = _bytes(path) + b"/" * entry.is_tree
        if entry.is_tree:
            if (raw.startswith(start) or start.startswith(raw)) and (raw > after or after.startswith(raw)):
                yield from _files_after(reader, entry.sha, f"{path}/", start, after)
        elif entry.is_file and raw.startswith(start) and raw > after:
            yield path, entry


def _bytes(path: str) -> bytes:
    return path.encode(errors="surrogateescape")


def lookup(reader: Reader, tree: str, path: str) -> TreeEntry | None:
    """Return the entry of one regular file, or None."""
    found = entry_at(reader, tree, path)
    return found if found is not None and found.is_file else None


def entry_at(reader: Reader, tree: str, path: str) -> TreeEntry | None:
    """Return what is at a path: a file, a folder, a link or a submodule; None where there is nothing."""
    *folders, name = path.split("/")
    for folder in folders:
        entry = reader.tree(tree).get(folder)
        if entry is None or not entry.is_tree:
            return None
        tree = entry.sha
    return reader.tree(tree).get(name)


def levels(path: str) -> Iterator[str]:
    """Yield a path, and every folder above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class FileDelta:
    """One path that differs between two trees; None stands for "no file"."""

    path: str
    old: TreeEntry | None
    new: TreeEntry | None


def differences(reader: Reader, old: str | None, new: str | None, prefix: str = "") -> Iterator[FileDelta]:
    """Yield the files that differ between two trees, by name in each folder; renames are not looked for."""
    return _differences(reader, old, new, prefix, is_counted=True)


def _differences(
    reader: Reader, old: str | None, new: str | None, prefix: str, *, is_counted: bool
) -> Generator[FileDelta, None, int]:
    """Yield the files; return how many entries were looked at."""
    if old == new:
        return 0
    _refuse_deep(prefix)
    before = _entries(reader, old)
    after = _entries(reader, new)
    count = len(before) + len(after)
    reader.walked(count * is_counted)
    repeats = _Repeats(reader, is_counted=is_counted)
    for name, left, right in differing(before, after):
        path = prefix + name
        count += _weigh(reader, path, is_counted=is_counted)
        trees = _trees(left, right)
        left_file = left if trees[0] is None else None
        right_file = right if trees[1] is None else None
        if left_file is not None or right_file is not None:
            yield FileDelta(path, left_file, right_file)
        if trees != (None, None):
            is_new = repeats.meet(
                trees,
                lambda: sum(_trees(*both) == trees for _, *both in differing(before, after)),  # noqa: B023 - at once
            )
            below = yield from _differences(reader, *trees, f"{path}/", is_counted=is_new)
            repeats.walked(trees, below)
            count += below
    return count


def _trees(left: TreeEntry | None, right: TreeEntry | None) -> tuple[str | None, str | None]:
    """Return the ids of what is a folder of two."""
    return (
        left.sha if left is not None and left.is_tree else None,
        right.sha if right is not None and right.is_tree else None,
    )


def _entries(reader: Reader, tree: str | None) -> Mapping[str, TreeEntry]:
    return {} if tree is None else reader.tree(tree)


def ancestors(reader: Reader, *starts: str) -> Iterator[tuple[str, Commit]]:
    """Yield these commits and those reachable from them, newest first by committer date, each once.

    With equal dates the later-found comes later, so a line of commits keeps its order.
    """
    seen: set[str] = set()
    queue: list[tuple[int, int, str, Commit]] = []
    serial = 0

    def push(sha: str) -> None:
        nonlocal serial
        if sha not in seen:
            seen.add(sha)
            reader.walked()
            commit = reader.commit(sha)
            heapq.heappush(queue, (-commit.committer.timestamp, serial, sha, commit))
            serial += 1

    for start in starts:
        push(start)
    while queue:
        _, _, sha, commit = heapq.heappop(queue)
        yield sha, commit
        for parent in commit.parents:
            push(parent)


def require_history(reader: Reader, start: str, path: str) -> None:
    """Look at what git reads to say which commits changed a path: where it could not, that may be nowhere.

    Raises:
        ObjectAbsentError, ObjectRefusedError: one of these is.
    """
    for _, commit in ancestors(reader, start):
        entry_at(reader, commit.tree, path)
