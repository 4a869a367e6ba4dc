"""A file by which a folder is known again: a volume that was unmounted leaves an empty folder at the same place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from memrepo_worker.store.causes import words_of_errno
from memrepo_worker.store.interface import UnavailableError

NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NOT_THE_FOLDER = "the folder is not the store that it was; mount or restore what was there"


class Anchor:
    """A file that shows that the folder above it is the one that it was. A check costs one ``stat``."""

    def __init__(self, path: Path) -> None:
        """Take the file as it is now.

        Raises:
            UnavailableError: there is none.
        """
        data = _bytes_of(path)
        if data is None:
            raise UnavailableError(f"{path} is not there: {_NOT_THE_FOLDER}")
        self._path = path
        self._data = data
        self._seen: tuple[int, int, int] | None = None

    def check(self) -> None:
        """Return if the file is as it was; the same file after a mount has other numbers, so its bytes decide.

        Raises:
            UnavailableError: it is gone or another one.
        """
        try:
            status = self._path.stat()
            seen = (status.st_dev, status.st_ino, status.st_mtime_ns)
            if seen != self._seen:
                if _bytes_of(self._path) != self._data:
                    raise UnavailableError(f"{self._path} is another one: {_NOT_THE_FOLDER}")
                self._seen = seen
        except NO_SUCH_FILE as error:
            said = words_of_errno(error.errno or 0, error.strerror)
            raise UnavailableError(f"{self._path}: {said}: {_NOT_THE_FOLDER}") from error


def _bytes_of(path: Path) -> bytes | None:
    """Return what is in a file, or None where there is none: what waits for another who opens it is none, either."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            return file.read() if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except NO_SUCH_FILE:
        return None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
