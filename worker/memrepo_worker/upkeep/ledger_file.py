"""The ledgers of what is joined, in a file: only a line of them is in memory at a time."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.bounds import LedgerBounds
from memrepo_worker.git.command import Git, GitOverBoundsError, ObjectFolder
from memrepo_worker.git.objects import Kind
from memrepo_worker.git.reader import Reader
from memrepo_worker.journal.ledger import LedgerLine, decode_each

_PIECE_BYTES = MIB


class LedgerFile:
    """Lines in the order in which they were added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch(mode=0o600)

    def add(self, sha: str, reader: Reader, git: Git, place: ObjectFolder) -> None:
        """Add those of a ledger, a blob that is in that place; a large one does not pass through memory."""
        with self._path.open("ab") as file:
            if reader.size(sha) <= _PIECE_BYTES:
                file.write(reader.blob(sha))
            else:
                git.run(["cat-file", "blob", sha], repo=place, stdout=file)

    def __iter__(self) -> Iterator[LedgerLine]:
        """Yield the lines, as often as one asks; raises ``ValueError`` where one is none."""
        with self._path.open("rb") as file:
            yield from decode_each(file)

    def write_object(self, lines: Iterable[LedgerLine], objects: Path) -> str:
        """Write a ledger of these lines as a loose object into a folder of objects, and return its id.

        Raises:
            GitOverBoundsError: it is larger than any may be that is taken in at once.
        """
        chosen = self._path.with_suffix(".chosen")
        with chosen.open("wb") as file:
            for line in lines:
                file.write(f"{line}\n".encode())
        if (size := chosen.stat().st_size) > LedgerBounds.joined_bytes_max:
            raise GitOverBoundsError(f"they would have a ledger of {size} bytes, so they stay entries")
        head = b"%s %d\0" % (Kind.BLOB.word.encode(), size)
        digest = hashlib.sha1(head, usedforsecurity=False)
        squeezed = zlib.compressobj(1)
        loose = self._path.with_suffix(".loose")
        with chosen.open("rb") as source, loose.open("wb") as target:
            target.write(squeezed.compress(head))
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                target.write(squeezed.compress(piece))
            target.write(squeezed.flush())
        chosen.unlink()
        sha = digest.hexdigest()
        (objects / sha[:2]).mkdir(exist_ok=True)
        loose.replace(objects / sha[:2] / sha[2:])
        return sha
