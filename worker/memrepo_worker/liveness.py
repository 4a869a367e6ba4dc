"""The file by which a worker shows that it lives, for whoever looks from beside it: ``memrepo doctor --quick``.

A worker touches it with every heartbeat, also while the broker is away: so a process that hangs is told from one that
waits. It holds a lock on the file, which the kernel takes back when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from memrepo_worker.files.regular import lies_in_its_place, make_way, regular

STALE_S = 60.0
"""How old the last heartbeat of a worker that lives may be: longer than any time limit that a heartbeat waits for."""

_FOLDER = "alive"


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker process of this machine: its name at the broker, and how long ago its last heartbeat was."""

    name: str
    age_s: float

    @property
    def lives(self) -> bool:
        """Whether its heartbeat goes on."""
        return self.age_s < STALE_S


class LivenessFile:
    """One worker's file in the cache folder. What cannot be written is done without: it stops no worker."""

    def __init__(self, cache_dir: Path, name: str, host: str) -> None:
        """``name`` is the worker's at the broker, no other's; ``host`` is this machine, or this container."""
        self._path = cache_dir / _FOLDER / quote(name, safe="@")
        self._text = f"{host}\n{name}"
        self._file: IO[str] | None = None

    def touch(self) -> None:
        """Note that the worker lives now."""
        with suppress(OSError):
            try:
                if self._file is None or lies_in_its_place(self._path):
                    raise FileNotFoundError
                os.utime(self._path)
            except FileNotFoundError:
                self._begin()

    def remove(self) -> None:
        """Note that the worker has ended in order."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in _running(self._path.parent):
            pass  # those of workers that were killed are removed by looking
        file = os.fdopen(regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(self._text)
        file.flush()
        self._file = file


def workers_seen(cache_dir: Path, host: str, now_s: float) -> Iterator[WorkerSeen]:
    """Yield the workers of this host that run with this cache folder; files that others left behind are removed.

    Containers may share the folder: each answers for its own workers alone.
    """
    for file in _running(cache_dir / _FOLDER):
        at, _, name = file.read().partition("\n")
        if at == host:
            yield WorkerSeen(name, max(0.0, now_s - os.fstat(file.fileno()).st_mtime))


def _running(folder: Path) -> Iterator[IO[str]]:
    """Yield the files of workers that run; remove the others."""
    for path in sorted(folder.glob("*")):
        with suppress(OSError):
            make_way(path)
            with open(path, opener=regular) as file:
                if _is_locked(file):
                    yield file
                else:
                    path.unlink(missing_ok=True)


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
