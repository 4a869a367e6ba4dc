"""Repositories of any shape, written object by object: also such as today's git would not write.

``Scribe`` makes objects in memory, and puts them into a bare repository as one pack, without starting git.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_index, encode_pack

FILE, EXECUTABLE, LINK, SUBMODULE, FOLDER = "100644", "100755", "120000", "160000", "40000"
GROUP_WRITABLE, PADDED_FOLDER = "100664", "040000"

Files = Mapping[str, bytes | tuple[str, bytes | str]]
"""Path to content, or to mode and content; what has the mode of a submodule or folder is given by its id."""

_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


@dataclass
class Scribe:
    """Makes objects; each method returns an id. ``clock_s`` is when the next commit is made, by default."""

    folder_mode: str = FOLDER
    clock_s: int = 1_700_000_000
    objects: dict[str, GitObject] = field(default_factory=dict)

    def add(self, kind: Kind, data: bytes) -> str:
        item = GitObject(kind, data)
        sha = object_id(item)
        self.objects[sha] = item
        return sha

    def blob(self, data: bytes) -> str:
        return self.add(Kind.BLOB, data)

    def tree(self, files: Files) -> str:
        """Make the tree that holds these files, and the folders on their way."""
        lines: list[tuple[str, bytes, str]] = []
        folders: dict[str, dict[str, bytes | tuple[str, bytes | str]]] = {}
        for path, what in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = what
                continue
            mode, content = what if isinstance(what, tuple) else (FILE, what)
            sha = content if isinstance(content, str) else self.blob(content)
            lines.append((mode, _bytes(name), sha))
        lines += [(self.folder_mode, _bytes(name), self.tree(inside)) for name, inside in folders.items()]
        return self.raw_tree(sorted(lines, key=_in_git_order))

    def raw_tree(self, lines: Iterable[tuple[str, bytes, str]]) -> str:
        """Make a tree of exactly these lines: mode, name, id."""
        return self.add(
            Kind.TREE,
            b"".join(b"%b %b\0%b" % (mode.encode(), name, bytes.fromhex(sha)) for mode, name, sha in lines),
        )

    def commit(
        self,
        files: Files | str,
        *parents: str,
        message: str | bytes = "A commit\n",
        author: str | bytes = "Ann Lee <ann@example.org>",
        at_s: int | None = None,
        zone: str = "+0000",
        headers: Sequence[bytes] = (),
    ) -> str:
        """Make a commit of these files (or of a tree); ``headers`` are whole lines after the committer's."""
        self.clock_s += 60
        tree = files if isinstance(files, str) else self.tree(files)
        who = b"%b %d %b" % (_bytes(author), self.clock_s if at_s is None else at_s, zone.encode())
        lines = [
            b"tree " + tree.encode(),
            *(b"parent " + parent.encode() for parent in parents),
            b"author " + who,
            b"committer " + who,
            *headers,
        ]
        return self.add(Kind.COMMIT, b"\n".join(lines) + b"\n\n" + _bytes(message))

    def write(self, folder: Path, refs: Mapping[str, str], head: str = "refs/heads/main") -> Path:
        """Write a bare repository of all objects with these refs, by full name; return its folder."""
        (folder / "objects" / "pack").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "config").write_text(_CONFIG)
        (folder / "HEAD").write_text(head if len(head) == 40 else f"ref: {head}\n")
        lines = "".join(f"{sha} {name}\n" for name, sha in sorted(refs.items()))
        (folder / "packed-refs").write_text("# pack-refs with: sorted \n" + lines)
        pack = encode_pack(self.objects)
        stem = folder / "objects" / "pack" / f"pack-{pack.checksum}"
        stem.with_suffix(".pack").write_bytes(pack.data)
        stem.with_suffix(".idx").write_bytes(encode_index(pack))
        return folder


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode(errors="surrogateescape")


def _in_git_order(line: tuple[str, bytes, str]) -> bytes:
    mode, name, _ = line
    return name + b"/" if mode.endswith("40000") else name
