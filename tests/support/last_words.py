"""What servers, workers and commands wrote while a test ran: the report of one that failed ends with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

NAMES = ("*.log", "*stdout", "*stderr", "said", "out")
"""What the files are called that tests have such output written to."""

FILES_MAX, CHARS_MAX = 8, 3000
_DEPTH_MAX = 4
_SLACK_S = 1.0
"""A file's time may be a little before the clock's."""


def last_words(folder: Path, since_s: float) -> list[tuple[str, str]]:
    """Return the names and ends of the files below a folder that were written to since then, the latest last.

    ``since_s`` is in seconds since 1970-01-01 UTC. What cannot be read is left out: a report is to be had always.
    """
    written: list[tuple[float, Path]] = []
    for path in _below(folder, _DEPTH_MAX):
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_size and found.st_mtime >= since_s - _SLACK_S:
            written.append((found.st_mtime, path))
    latest = [path for _, path in sorted(written)][-FILES_MAX:]
    return [(str(path.relative_to(folder)), end) for path in latest if (end := _end(path))]


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if depth:
                yield from _below(Path(entry), depth - 1)
        elif entry.is_file(follow_symlinks=False) and any(fnmatch(entry.name, name) for name in NAMES):
            yield Path(entry)


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - CHARS_MAX))
            return file.read(CHARS_MAX).decode(errors="replace")
    except OSError:
        return ""
