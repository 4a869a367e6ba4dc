"""Entries, and their packs, that lie in files: of what is large only a piece at a time is in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import HEADER_BYTES, TRAILER_BYTES, encode_pack, object_count_in, pack_header
from memrepo_worker.journal.entry import encode_joined
from memrepo_worker.journal.ledger import LedgerLine, encode_lines

_PIECE_BYTES = MIB


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack of ``count`` objects within a file."""

    path: Path
    start: int
    size: int
    count: int

    @classmethod
    def whole(cls, path: Path) -> PackFile:
        """Return the pack that a file is.

        Raises:
            ValueError: it is none.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            return cls(path, 0, size, object_count_in(file.read(HEADER_BYTES), size))

    @property
    def is_at_end(self) -> bool:
        """Whether nothing follows on it in the file."""
        return self.start + self.size == self.path.stat().st_size

    def body(self) -> Iterator[bytes]:
        """Yield its objects' bytes, without header and trailer."""
        return read_pieces(self.path, self.start + HEADER_BYTES, self.size - HEADER_BYTES - TRAILER_BYTES)


def joined(packs: Iterable[PackFile]) -> Iterator[bytes]:
    """Yield the bytes of one pack with the objects of all, as ``git.packs.join_packs`` makes it."""
    packs = [*packs]
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in _beginning_with(pack_header(sum(pack.count for pack in packs)), packs):
        digest.update(piece)
        yield piece
    yield digest.digest()


def read_pieces(path: Path, start: int, size: int) -> Iterator[bytes]:
    """Yield so many bytes of a file, or as many as there are."""
    with path.open("rb") as file:
        file.seek(start)
        while size > 0 and (piece := file.read(min(size, _PIECE_BYTES))):
            size -= len(piece)
            yield piece


def write_entry(
    path: Path,
    pack: Path,
    objects: Mapping[str, GitObject],
    refs: Mapping[str, str],
    lines: Iterable[LedgerLine],
    origin_sha: str,
) -> None:
    """Write an entry that builds on nothing: the pack in a file, and these objects with it."""
    ledger = GitObject(Kind.BLOB, encode_lines(lines))
    ledger_sha = object_id(ledger)
    beside = path.with_name(f"{path.name}.beside")
    beside.write_bytes(encode_pack({**objects, ledger_sha: ledger}).data)
    with path.open("wb") as file:
        file.write(encode_joined((), refs, ledger_sha, b"", origin_sha))
        for piece in joined([PackFile.whole(pack), PackFile.whole(beside)]):
            file.write(piece)
    beside.unlink()


def _beginning_with(header: bytes, packs: Iterable[PackFile]) -> Iterator[bytes]:
    yield header
    for pack in packs:
        yield from pack.body()
