"""The door to files on the worker's disk: what lies in the place of one, and is none, is waited for by nobody.

Opening a named pipe waits until somebody opens its other end, and reading a device may never end.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)


def regular(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """Open a file, as the ``opener`` of ``open`` or in place of ``os.open``; return its number.

    Raises:
        OSError: it cannot be opened, or is none, which a link is neither.
    """
    number = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "is no regular file", os.fspath(path))
    return number


def read_regular(path: Path) -> bytes:
    """Return what is in a file; raises as ``regular`` does."""
    with open(path, "rb", opener=regular) as file:
        return file.read()


def link_regular(source: Path, target: Path) -> None:
    """Give a file a second name; raises as ``regular`` does, and where the second is on another disk."""
    target.hardlink_to(source)
    if not stat.S_ISREG(target.lstat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", os.fspath(source))


def irregular_in(objects: Path, *, graphs: bool = True) -> str | None:
    """Return the name of what git would open below a folder of objects, and perhaps wait for, though it is no file.

    None is opened for it, and what cannot be looked at now has none. Without ``graphs`` git opens no commit graph.
    """
    for folder in ("pack", "info", "info/commit-graphs")[: 3 if graphs else 2]:
        with suppress(OSError), os.scandir(objects / folder) as entries:
            for entry in entries:
                if not entry.is_file() and not entry.is_dir():
                    return entry.name
    return None


def lies_in_its_place(path: Path) -> bool:
    """Whether something is where a file should be, and is none."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def make_way(path: Path) -> None:
    """Remove what lies where a file should be and is none, with a line in the log; mostly there is nothing to do.

    A file that another process makes there meanwhile stays. What cannot be removed stays, too.

    Raises:
        OSError: the folder cannot be locked.
    """
    if not lies_in_its_place(path):
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not lies_in_its_place(path):
            return
        with suppress(OSError):
            path.unlink()
        remove_folder(path)
        if not lies_in_its_place(path):
            fields = {"path": str(path)}
            extra = {"event": "cache.no_file", "fields": fields}
            logger.warning("%s was in the place of a file, and none: removed", path, extra=extra)
    finally:
        os.close(folder)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, or what lies in its place, as far as the machine lets us."""
    with suppress(OSError):
        if not path.is_dir():
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)
