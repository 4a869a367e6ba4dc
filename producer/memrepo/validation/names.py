"""When two names are the same one: the rule for requests, trees, replays, imports and adoptions.

Git keeps ``A`` and ``a`` apart, and the two ways to write ``é``; the file systems of macOS and Windows do not, so of
such twins one would hide the other in a checkout. Nor can a file be where a folder is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache

# Code points that HFS+ ignores when it compares names (next_hfs_char in git's utf8.c).
HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])

SAME_NAME = "is the same name as another on macOS or Windows"
FILE_AND_FOLDER = "is a file where another path has a folder"

_REMEMBERED_CHARS_MAX = 128

_Levels = tuple[tuple[str, str], ...]


def folded(name: str) -> str:
    """Return what is equal for two names, or paths, that a file system of macOS or Windows takes for one.

    They differ in case, in Unicode's ways to compose a letter, or in code points that HFS+ passes over.
    """
    if name.isascii():
        return name.lower()
    plain = unicodedata.normalize("NFD", name.translate(HFS_IGNORED)).casefold()
    return unicodedata.normalize("NFD", plain)


def told_as_one(name: str, other: str) -> str:
    """Say of a name that it is the same as another; where people see no difference, say what that is."""
    said = f"is {other!r} on macOS or Windows"
    if _seen(name) == _seen(other):
        said += f": the code points {name!a} and {other!a} look alike"
    return said


def _seen(name: str) -> str:
    return unicodedata.normalize("NFC", name.translate(HFS_IGNORED))


def find_twins(names: Iterable[str], new: Collection[str]) -> dict[str, str]:
    """Return the ``new`` names of a folder that are the same as another of its ``names``, each with that.

    Without these no two are the same, but for those that were there before.
    """
    if not new:
        return {}
    found: dict[str, str] = {}
    by_folded: dict[str, str] = {}
    for name in names:
        key = folded(name)
        other = by_folded.setdefault(key, name)
        if other == name:
            continue
        if name in new:
            found[name] = other
        elif other in new:
            found[other] = by_folded[key] = name
    return found


@dataclass(frozen=True, slots=True)
class Clash:
    """Two paths that cannot both be files: ``path`` (or a folder of it) and ``other``; ``rule`` says why."""

    rule: str
    path: str
    other: str

    def __str__(self) -> str:
        if self.rule == FILE_AND_FOLDER:
            return f"{self.path!r} and {self.other!r}: one would be a file and the other one's folder"
        return f"{self.path!r} {told_as_one(self.path, self.other)}"


class PathSet:
    """Paths of files that go together on every file system.

    Whoever adds a path asks ``clash`` first. Folders are remembered by the spelling that they were first seen with,
    for as long as a file is in them.
    """

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._inside: dict[str, int] = {}  # files below each folder

    def clash(self, path: str) -> Clash | None:
        """Return what keeps a path from being a file beside these, or None; a path clashes with itself never."""
        return self._clash(path, _levels(path))

    def take(self, path: str) -> Clash | None:
        """Add a path, unless something keeps it from being a file beside these: then return that."""
        levels = _levels(path)
        clash = self._clash(path, levels)
        if clash is None:
            self._add(path, levels)
        return clash

    def _clash(self, path: str, levels: _Levels) -> Clash | None:
        *folders, (name, spelled) = levels
        for level, folder in folders:
            if level in self._files:
                return Clash(FILE_AND_FOLDER, path, self._files[level])
            if self._folders.get(level, folder) != folder:
                return Clash(SAME_NAME, folder, self._folders[level])
        if name in self._folders:
            return Clash(FILE_AND_FOLDER, path, self._folders[name])
        if self._files.get(name, spelled) != spelled:
            return Clash(SAME_NAME, path, self._files[name])
        return None

    def add(self, path: str) -> None:
        """Add a path that clashes with none of these; adding it again changes nothing."""
        self._add(path, _levels(path))

    def _add(self, path: str, levels: _Levels) -> None:
        *folders, (name, _) = levels
        if name in self._files:
            return
        self._files[name] = path
        for level, folder in folders:
            self._folders.setdefault(level, folder)
            self._inside[level] = self._inside.get(level, 0) + 1

    def remove(self, path: str) -> None:
        """Remove a path that is one of these."""
        *folders, (name, _) = _levels(path)
        del self._files[name]
        for level, _ in folders:
            self._inside[level] -= 1
            if not self._inside[level]:
                del self._inside[level], self._folders[level]


def _levels(path: str) -> _Levels:
    """Return every folder above a path, and the path itself, each folded and as it is spelled."""
    return _found_levels(path) if len(path) <= _REMEMBERED_CHARS_MAX else _found_levels.__wrapped__(path)


@lru_cache(256)  # each is asked for twice at once, and again with the next change of the file
def _found_levels(path: str) -> _Levels:
    return tuple(zip(_prefixes(folded(path)), _prefixes(path), strict=True))


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
