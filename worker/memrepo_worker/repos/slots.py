"""Slots: how several processes of a machine share a cache folder, and one limit on what lies in it.

Each process has a folder of its own in it, by a file lock that the kernel gives back when the process ends, however it
ends. In the locked file stands how much the slot holds, written by its process alone; so all of them can add up the
whole without waiting for each other, and a process that was killed leaves at worst a figure that is a little old, which
the next one in that slot counts anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from memrepo_worker.bounds import CacheLimits
from memrepo_worker.files.regular import read_regular, regular, remove_folder

_SLOTS_MAX = 256
_LOOKS_WAITED_FOR_MAX, _LOOK_S = 100, 0.002
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO}
_LOCK = "lock"
STATE_FILE = "memrepo.json"
"""By this file in it a folder is a repository that can be used."""

_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's are
_TOLD_BYTES = 34


class CacheUnusableError(Exception):
    """The cache folder cannot be written, or all its slots are taken."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How many warm repositories lie somewhere, and the bytes that they take there."""

    repos: int = 0
    disk_bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.repos + other.repos, self.disk_bytes + other.disk_bytes)

    def is_within(self, limits: CacheLimits) -> bool:
        """Whether so much may lie in a cache folder."""
        return self.repos <= limits.repos_max and self.disk_bytes <= limits.disk_bytes_max

    def times(self, number: int) -> Usage:
        """Return so many times as much."""
        return Usage(self.repos * number, self.disk_bytes * number)


@dataclass(frozen=True, slots=True)
class Others:
    """What lies in all other slots, and how many of them have a process."""

    usage: Usage
    processes: int


class Slot:
    """The folder of one process in a cache folder."""

    def __init__(self, path: Path, lock_file: IO[bytes]) -> None:
        self.path = path
        self._lock_file = lock_file
        self._told: Usage | None = None

    @classmethod
    def take(cls, folder: Path) -> Slot:
        """Lock the first free slot of a cache folder.

        Raises:
            CacheUnusableError: there is none.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(_SLOTS_MAX):
                path = folder / f"slot-{number:03d}"
                path.mkdir(mode=0o700, exist_ok=True)
                lock_file = _lock(path)
                if lock_file is not None:
                    return cls(path, lock_file)
        except OSError as error:
            raise CacheUnusableError(f"cache folder {folder} cannot be used: {error.strerror}") from error
        raise CacheUnusableError(f"all {_SLOTS_MAX} slots of cache folder {folder} are taken")

    def close(self) -> None:
        """Give it back; what lies in it stays."""
        self._lock_file.close()

    @property
    def is_given_back(self) -> bool:
        """Whether it was: what lies in it is another process's, or nobody's."""
        return self._lock_file.closed

    def tell(self, usage: Usage) -> None:
        """Let the other processes know how much lies here. That the disk does not take it, is no matter.

        Once the slot was given back, nothing is told.
        """
        if usage != self._told and not self.is_given_back:
            self._told = usage
            with suppress(OSError):
                os.pwrite(self._lock_file.fileno(), _encode(usage), 0)

    def others(self) -> Others:
        """Return what the others hold."""
        usage, processes = Usage(), 0
        for path in self._other_paths():
            with _if_free(path, fcntl.LOCK_SH) as is_free:
                processes += not is_free
                usage += _told_in(path)
        return Others(usage, processes)

    def remove_abandoned(self, is_enough: Callable[[Usage], bool]) -> None:
        """Remove repositories from slots that have no process, the oldest first, until it is enough.

        ``is_enough`` gets what went so far. A process that begins in that moment takes another slot.
        """
        gone = Usage()
        for path in self._other_paths():
            with _if_free(path, fcntl.LOCK_EX) as is_free:
                left = repos_in(path) if is_free else {}
                for name in list(left):
                    if is_enough(gone):
                        break
                    remove_repo(path / name)
                    gone += Usage(1, left.pop(name))
                if is_free:
                    _note(path, Usage(len(left), sum(left.values())))
            if is_enough(gone):
                return

    def _other_paths(self) -> Iterator[Path]:
        return (path for path in sorted(self.path.parent.glob("slot-*/")) if path != self.path)


def repos_in(slot: Path) -> dict[str, int]:
    """Return the folders of a slot with the bytes that they take, the one that was used longest ago first."""
    return {path.name: bytes_on_disk(path) for path in sorted(slot.glob("*/"), key=_used_at_ns)}


def remove_repo(folder: Path) -> None:
    """Remove a folder of a slot, as far as the machine lets us; what is left of one is no repository any more."""
    with suppress(OSError):
        for state in folder.glob(f"*/{STATE_FILE}"):
            with suppress(OSError):
                state.unlink()
    remove_folder(folder)


def mark_used(folder: Path, at_ns: int) -> None:
    """Remember when a folder of a slot was used, as ``repos_in`` orders by it."""
    with suppress(OSError):
        os.utime(folder, ns=(at_ns, at_ns))


def bytes_on_disk(folder: Path) -> int:
    """Return what the files of a folder take of the disk: at least their bytes, whole blocks where those are more.

    Links, what goes meanwhile, and what may not be looked at, count nothing, and a file of two names counts once; it
    raises nothing.
    """
    return _bytes_in(folder, set())


def _bytes_in(folder: Path, counted: set[int]) -> int:
    """Return what they take, but for those that were ``counted`` by another name."""
    taken = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    taken += _bytes_in(Path(entry.path), counted)
                elif not entry.is_symlink():
                    found = entry.stat(follow_symlinks=False)
                    if found.st_ino not in counted:
                        taken += max(found.st_size, found.st_blocks * _BLOCK_BYTES)
                    if found.st_nlink > 1:
                        counted.add(found.st_ino)
    return taken


def _used_at_ns(path: Path) -> int:
    """Return the newest time of a folder and those in it: a repository's own changes with each save."""
    newest = 0
    with suppress(OSError):
        newest = max(found.stat().st_mtime_ns for found in (path, *path.glob("*/")))
    return newest


def _encode(usage: Usage) -> bytes:
    return f"{usage.repos:12d} {usage.disk_bytes:20d}\n".encode()


def _told_in(slot: Path) -> Usage:
    try:
        repos, disk_bytes = read_regular(slot / _LOCK)[:_TOLD_BYTES].split()
        return Usage(int(repos), int(disk_bytes))
    except (OSError, ValueError):
        return Usage()


def _note(slot: Path, usage: Usage) -> None:
    with suppress(OSError), open(slot / _LOCK, "r+b", opener=regular) as file:
        file.write(_encode(usage))


@contextmanager
def _if_free(slot: Path, how: int) -> Iterator[bool]:
    """Say whether a slot has no process; within the block none takes it. Shared is for a look, which many may have."""
    try:
        file = os.fdopen(regular(slot / _LOCK, os.O_RDONLY), "rb")
    except OSError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True


def _lock(slot: Path) -> IO[bytes] | None:
    """Lock a slot; None where a process has it, another user made it, or its lock is no file of ours."""
    try:
        slot.chmod(0o700)  # a version before this let everybody in
        lock_file = os.fdopen(regular(slot / _LOCK, os.O_RDWR | os.O_CREAT), "r+b")
    except OSError as error:
        if error.errno in _NOT_OURS:
            return None
        raise
    for _ in range(_LOOKS_WAITED_FOR_MAX):
        with suppress(BlockingIOError):
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock_file
        try:
            fcntl.flock(lock_file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            break  # a process has it
        fcntl.flock(lock_file, fcntl.LOCK_UN)
        time.sleep(_LOOK_S)  # somebody looks at it
    lock_file.close()
    return None
