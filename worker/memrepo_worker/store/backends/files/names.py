"""Keys as file names: reversible, and never merged or refused by a file system.

A key of lower-case letters, digits and ``. _ @ + = -`` is its own path, so a person and stock git find
``acme/agent-42/repo.git/journal/…`` under that name. Everything else is escaped as ``%xx``: upper-case letters
(many file systems fold case), a dot at either end (``..``, hidden files, Windows shares), the first letter of
names that Windows shares reserve. A component that would grow too long goes on in a folder whose name ends in a
lone ``%``. The rules are the same on every file system, so a store can be copied from one to another.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME_BYTES_MAX = 240
"""Below the 255 bytes that file systems allow, with room for the mark of continuation."""

NAMES_MAX = 128
"""How many names lead to an object at most; those of memrepo's own have some ten. Folders below are not read.

So nobody's folder makes a listing of others take long: each folder is reached from the store's own, name by name.
"""

CONTINUED = "%"
"""Ends the name of a folder whose children go on with the same key component."""

_ESCAPED_LENGTH = len("%xx")
_TO_ESCAPE = re.compile(
    r"^(?=(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$))."  # reserved
    r"|^\.|\.$"
    r"|[^a-z0-9._@+=-]"
)
_ESCAPE = re.compile(r"%([0-9a-f]{2})")


def path_of(root: Path, key: str) -> Path:
    """Return where the object of a key is kept.

    Raises:
        ValueError: the key is not ASCII, or has an empty component.
    """
    return root.joinpath(*names_of_key(key))


def names_of_key(key: str) -> list[str]:
    """Return the names that lead to the object of a key, from the store's folder down.

    Raises:
        ValueError: as ``path_of``.
    """
    return [name for component in key.split("/") for name in names_of(component)]


def names_of(component: str) -> list[str]:
    """Return the file names, outermost first, that stand for one component of a key."""
    if not component or not component.isascii():
        raise ValueError("a key has ASCII components, none of them empty")
    name = _escape(component)
    if len(name) <= NAME_BYTES_MAX:
        return [name]
    step = NAME_BYTES_MAX // _ESCAPED_LENGTH
    names = [_escape(component[start : start + step]) for start in range(0, len(component), step)]
    return [name + CONTINUED for name in names[:-1]] + names[-1:]


def part_of(name: str) -> str | None:
    """Return the key component, or the part of one, that a file name stands for; None: the file is not a store's."""
    if name and "%" not in name and not _TO_ESCAPE.search(name):
        return name  # as an entry's: a listing has very many
    escaped = name.removesuffix(CONTINUED)
    part = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), escaped)
    is_part = part.isascii() and "/" not in part and _escape(part) == escaped
    return part if part and is_part else None


def _escape(part: str) -> str:
    return _TO_ESCAPE.sub(lambda match: f"%{ord(match[0]):02x}", part)
