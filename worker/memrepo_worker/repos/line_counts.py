"""The line counts of commits, computed once: kept in memory and, with the warm repository, in a file beside its packs.

A commit's exact counts follow from its contents alone, so what is kept is never stale. Those that are not exact follow
from the bounds of this process, too, and are kept in its memory alone. What is damaged, or lost, is computed again.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from memrepo_worker.files.regular import regular

_FILE = "line-counts"
_KEPT_MAX = 10_000
_COUNT_BYTES = 300  # of a commit in memory
_READ_BYTES_MAX = 1024 * 1024
_FILE_BYTES_MAX = (
    4 * _READ_BYTES_MAX
)  # who goes through old commits again and again has them counted, and written, anew
_LINE = re.compile(rb"(([0-9a-f]{40}) ([0-9]{1,15}) ([0-9]{1,15})) ([0-9a-f]{8})\Z")

Counts = tuple[int, int, bool]
"""Lines added, lines removed, and whether that is exact."""


class LineCounts:
    """What is kept of one repository's commits: in memory the newest, in the file all that is exact.

    Of the file the end is read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._kept: dict[str, Counts] | None = None
        self._unsaved: dict[str, None] = {}

    def find(self, sha: str) -> Counts | None:
        """Return the counts of a commit, if they are kept."""
        return self._known().get(sha)

    def keep(self, sha: str, counts: Counts) -> None:
        """Keep the counts of a commit."""
        kept = self._known()
        kept[sha] = counts
        if counts[2]:
            self._unsaved[sha] = None
        if len(kept) > _KEPT_MAX:
            oldest = next(iter(kept))
            del kept[oldest]
            self._unsaved.pop(oldest, None)

    @property
    def memory_bytes(self) -> int:
        """About how much memory the counts take."""
        return _COUNT_BYTES * len(self._kept or ())

    def save(self) -> None:
        """Write what is new behind what is there. It may get lost: it is not flushed to the disk.

        Raises:
            OSError: the disk does not take it.
        """
        kept = self._known()
        lines = [_encode(sha, kept[sha]) for sha in self._unsaved]
        self._unsaved.clear()
        if lines:
            number = regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with os.fdopen(number, "ab") as file:
                file.write(b"".join(lines))
                size = file.tell()
            if size > _FILE_BYTES_MAX:
                self._write_anew(kept)

    def _write_anew(self, kept: dict[str, Counts]) -> None:
        """Have the file hold what is in memory, and nothing else."""
        new = self._path.with_name(f".{_FILE}.new")
        number = regular(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with os.fdopen(number, "wb") as file:
            file.writelines(_encode(sha, counts) for sha, counts in kept.items() if counts[2])
        new.replace(self._path)

    def _known(self) -> dict[str, Counts]:
        if self._kept is None:
            self._kept = dict(self._read())
        return self._kept

    def _read(self) -> Iterator[tuple[str, Counts]]:
        """Yield what the end of the file has; a line that is not whole is passed over."""
        try:
            with open(self._path, "rb", opener=regular) as file:
                file.seek(max(0, self._path.stat().st_size - _READ_BYTES_MAX))
                lines = file.read(_READ_BYTES_MAX).split(b"\n")
        except OSError:
            return
        for line in lines:
            found = _LINE.match(line)
            if found is not None and int(found[5], 16) == zlib.crc32(found[1]):
                yield found[2].decode(), (int(found[3]), int(found[4]), True)


def _encode(sha: str, counts: Counts) -> bytes:
    text = f"{sha} {counts[0]} {counts[1]}".encode()
    return b"%b %08x\n" % (text, zlib.crc32(text))
