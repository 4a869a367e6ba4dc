"""The door to files of a local copy: what lies in the place of one, and is none, is damage, and waited for by nobody.

Opening a named pipe waits until somebody opens its other end, and reading a device may never end.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


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


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, or what lies in its place, as far as the machine lets us."""
    with suppress(OSError):
        if not path.is_dir():
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)
