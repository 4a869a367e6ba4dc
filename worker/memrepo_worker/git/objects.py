"""Git objects as bytes: ids, trees and commits (gitformat-pack, "git cat-file -p" for the layouts).

Object ids are 40 lower-case hexadecimal digits. Names in trees are ``str``; bytes that are not UTF-8 (only in
histories that were not written by memrepo) survive as surrogate escapes.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from memrepo.limits import MIB
from memrepo.validation.names import HFS_IGNORED
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.threads.giving_way import pieces

NULL_SHA = "0" * 40

MODE_FILE = "100644"
MODE_EXECUTABLE = "100755"
MODE_TREE = "40000"
MODE_SUBMODULE = "160000"
_FILE_MODES = {MODE_FILE, MODE_EXECUTABLE, "100664"}


class Kind(Enum):
    """The four kinds of objects; the value is the ``number`` in a pack, ``word`` the name in an object's header.

    These are plain attributes: what an enumeration computes of its own is computed by Python at each use.
    """

    COMMIT = 1
    TREE = 2
    BLOB = 3
    TAG = 4

    def __init__(self, number: int) -> None:
        self.number = number
        self.word = self._name_.lower()
        self.header = f"{self.word} ".encode()

    __hash__ = object.__hash__


KINDS = {kind.value: kind for kind in Kind}
"""Each kind by its number in packs: an enumeration takes five times as long to be asked."""


@dataclass(frozen=True, slots=True)
class GitObject:
    """One object: its kind and the bytes after its header."""

    kind: Kind
    data: bytes


def object_id(item: GitObject) -> str:
    """Return an object's id: the SHA-1 of its header and bytes."""
    data = item.data
    header = b"%b%d\0" % (item.kind.header, len(data))
    if len(data) <= SharingBounds.piece_bytes:
        return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()
    digest = hashlib.sha1(header, usedforsecurity=False)
    for piece in pieces(data):
        digest.update(piece)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a tree, without its name. ``mode`` is octal text as git writes it."""

    mode: str
    sha: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a folder."""
        return self.mode == MODE_TREE

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file (and not a folder, symbolic link or submodule)."""
        return self.mode in _FILE_MODES

    @property
    def executable(self) -> bool:
        """Whether it is an executable file."""
        return self.mode == MODE_EXECUTABLE


def decode_tree(data: bytes) -> dict[str, TreeEntry]:
    """Return a tree's entries by name, in git's order.

    Raises:
        ValueError: it is no tree.
    """
    return dict(_tree_lines(data))


def _tree_lines(data: bytes) -> Iterator[tuple[str, TreeEntry]]:
    position = 0
    while position < len(data):
        end = data.index(b"\0", position)
        mode, _, name = data[position:end].partition(b" ")
        position = end + 21
        if position > len(data):
            raise ValueError("a tree that ends early")
        yield (
            name.decode(errors="surrogateescape"),
            TreeEntry(mode.decode(), data[end + 1 : position].hex()),
        )


def decode_safe_tree(data: bytes) -> dict[str, TreeEntry]:
    """Return a tree's entries by name, if it is one that can be written into a folder without leaving that.

    These are rules that ``git fsck --strict`` has, too, so that no history breaks them that was ever taken over.

    Raises:
        ValueError: it is no such tree.
    """
    entries: dict[str, TreeEntry] = {}
    for name, entry in _tree_lines(data):
        if name in entries:
            raise ValueError("a tree with a name twice")
        if name in ("", ".", "..") or "/" in name or _is_gits_own(name):
            raise ValueError("a tree with a name that leads elsewhere")
        entries[name] = entry
    return entries


def _is_gits_own(name: str) -> bool:
    """Whether some file system takes a name for that of git's own folder."""
    if name.isascii() and "git" not in name.lower():
        return False
    plain = name.translate(HFS_IGNORED).lower().partition(":")[0].rstrip(". ")
    return plain in (".git", "git~1")


BYTES_MAX: Mapping[Kind, int] = {Kind.COMMIT: 8 * MIB, Kind.TREE: 16 * MIB, Kind.TAG: 8 * MIB}
"""How large what is decoded may be: a folder of some 250,000 files. Of files there is no such bound."""


def encode_tree(entries: Mapping[str, TreeEntry]) -> GitObject:
    """Return the tree object of these entries."""
    return encode_ordered_tree(in_git_order(entries))


def in_git_order(entries: Mapping[str, TreeEntry]) -> dict[str, TreeEntry]:
    """Return the entries sorted as git does: folders as if their names ended with a slash."""
    return dict(sorted(entries.items(), key=_sort_key))


def _sort_key(item: tuple[str, TreeEntry]) -> bytes:
    name, entry = item
    raw = name.encode(errors="surrogateescape")
    return raw + b"/" if entry.is_tree else raw


def encode_ordered_tree(entries: Mapping[str, TreeEntry]) -> GitObject:
    """Return the tree object of entries that are in git's order already."""
    return GitObject(Kind.TREE, b"".join([encode_tree_line(name, entry) for name, entry in entries.items()]))


def encode_tree_line(name: str, entry: TreeEntry) -> bytes:
    """Return one entry as it is stored in a tree."""
    return b"%b %b\0%b" % (
        entry.mode.encode(),
        name.encode(errors="surrogateescape"),
        bytes.fromhex(entry.sha),
    )


@dataclass(frozen=True, slots=True)
class Ident:
    """An author or committer. ``timestamp`` is in seconds since 1970-01-01 UTC, ``zone`` like ``+0000``."""

    name: str
    email: str
    timestamp: int
    zone: str = "+0000"

    def __str__(self) -> str:
        return f"{self.name} <{self.email}> {self.timestamp} {self.zone}"


_DATE = re.compile(r"> (?P<timestamp>-?\d{1,18}) (?P<zone>[+-]\d+)")


COMMITTER_NAME = "memrepo"
COMMITTER_EMAIL = "memrepo@localhost"
"""Who commits what is made here."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit's parts. ``message`` is everything after the headers, as it is."""

    tree: str
    parents: tuple[str, ...]
    author: Ident
    committer: Ident
    message: str


def encode_commit(commit: Commit) -> GitObject:
    """Return the commit object."""
    headers = [
        f"tree {commit.tree}",
        *(f"parent {parent}" for parent in commit.parents),
        f"author {commit.author}",
        f"committer {commit.committer}",
    ]
    return GitObject(Kind.COMMIT, ("\n".join(headers) + "\n\n" + commit.message).encode())


def decode_commit(data: bytes) -> Commit:
    """Return a commit's parts, its text read by the encoding that it names, as ``git log`` does.

    What is neither in that encoding nor UTF-8 is shown with replacement characters.
    """
    named = _ENCODING.search(data, 0, data.find(b"\n\n") + 1)
    text = decode_text(data, named[1].decode()) if named else data.decode(errors="replace")
    head, _, message = text.partition("\n\n")
    tree, parents = "", []
    idents: dict[str, Ident] = {}
    for line in head.split("\n"):
        word, _, value = line.partition(" ")
        match word:
            case "tree":
                tree = value
            case "parent":
                parents.append(value)
            case "author" | "committer":
                idents[word] = _decode_ident(value)
    nobody = Ident("", "", 0)  # only in what git itself finds fault with
    author, committer = idents.get("author", nobody), idents.get("committer", nobody)
    return Commit(tree, tuple(parents), author, committer, message)


_ENCODING = re.compile(rb"^encoding ([A-Za-z0-9._:-]{1,40})$", re.MULTILINE)
_ENCODINGS = re.compile(
    r"(utf_?8|ascii|latin_?1|iso8859_\d+|cp\d+|koi8_[rut]|mac_\w+|shift_jis\w*|euc_\w+|iso2022_\w+|gb2312|gbk|gb18030"
    r"|big5\w*|hz|johab|ptcp154|kz1048|tis_620)\Z"
)
"""Those of Python's codecs that are encodings of text as git's iconv has them, in linear time."""


def decode_text(data: bytes, encoding: str) -> str:
    """Return bytes as text, by an encoding's name; by UTF-8 where that is unknown or does not fit."""
    try:
        codec = codecs.lookup(encoding).name.replace("-", "_")
        if _ENCODINGS.match(codec):
            return data.decode(codec)
    except (LookupError, ValueError):
        pass
    return data.decode(errors="replace")


def decode_sound_commit(data: bytes) -> Commit:
    """Return a commit's parts, if it names its tree and parents as git does.

    Raises:
        ValueError: it is no such commit.
    """
    commit = decode_commit(data)
    if not all(_SHA.match(sha) for sha in (commit.tree, *commit.parents)):
        raise ValueError("a commit that names no tree, or a parent by no id")
    return commit


def tagged(data: bytes) -> str:
    """Return the id of what an annotated tag is at.

    Raises:
        ValueError: it names none.
    """
    found = _TAGGED.match(data)
    if found is None:
        raise ValueError("a tag that names no object")
    return found[1].decode()


_SHA = re.compile(r"[0-9a-f]{40}\Z")
_TAGGED = re.compile(rb"object ([0-9a-f]{40})\n")


def _decode_ident(text: str) -> Ident:
    """Take an author's or committer's line apart, in linear time whatever it holds."""
    date = _DATE.search(text)
    end = date.start() if date else 0
    begin = text.find("<", text.rfind(">", 0, end) + 1, end)
    if date is None or begin < 0:
        return Ident(text, "", 0)
    name, email = text[:begin].removesuffix(" "), text[begin + 1 : end]
    return Ident(name, email, int(date["timestamp"]), date["zone"])


def printable(path: str) -> str:
    """Return a path, or a ref's name, as JSON can carry it: what is not UTF-8 becomes replacement characters."""
    return path.encode(errors="surrogateescape").decode(errors="replace")
