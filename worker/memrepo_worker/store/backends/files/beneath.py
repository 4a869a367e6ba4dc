"""Files below one folder, reached without following a link: whoever may write there leads nobody elsewhere.

A link in an agent's folder would have a worker read another agent's files, or remove them. So each folder below the
root is opened from the one above it, and none that is a link. (The root itself may be reached through links: they are
the operator's.) And a FIFO there would have a worker wait for ever, so only what is a file is opened as one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from memrepo_worker.store.interface import RefusedError

Names = Sequence[str]
"""A file or folder below the root, by the names that lead there."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENED = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}


@dataclass(frozen=True)
class Beneath:
    """The files below a folder."""

    root: Path

    @contextmanager
    def folder(self, names: Names = ()) -> Iterator[int]:
        """Give a folder's descriptor, which is for ``dir_fd``.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            RefusedError: a link is in the way.
        """
        opened = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in names:
                above, opened = opened, self._below(opened, name)
                os.close(above)
            yield opened
        finally:
            os.close(opened)

    def _below(self, above: int, name: str) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=above)
        except OSError:
            self.refuse_link(name, above)
            raise

    def refuse_link(self, name: str, folder: int) -> None:
        """Return unless this name is a link.

        Raises:
            RefusedError: it is; the message names it.
        """
        with suppress(OSError):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                self._refuse_kind(name, mode)

    def refuse_folder(self, name: str, folder: int) -> None:
        """Return unless this name is a folder's: no file can have it, and there is none that has.

        Raises:
            RefusedError: it is; the message names it.
        """
        with suppress(OSError):
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise RefusedError(self.folder_in_place(name))

    def folder_in_place(self, name: str) -> str:
        """Return what is said of a folder where an object would be."""
        return (
            f"{self.root}: {name} is a folder where a file is to be written: remove it, or put the file back that was "
            "in its place"
        )

    def open(self, name: str, folder: int, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """Open a file in a folder, or with ``O_DIRECTORY`` a folder, without waiting for anybody.

        Raises:
            RefusedError: it is a link, a FIFO, a socket, a device, or a folder where a file is asked for.
        """
        try:
            opened = os.open(name, flags | _OPENED, mode, dir_fd=folder)
        except OSError:
            with suppress(OSError):
                self._refuse_kind(name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
            raise
        try:
            if not flags & os.O_DIRECTORY:
                self._refuse_kind(name, os.fstat(opened).st_mode)
        except BaseException:
            os.close(opened)
            raise
        return opened

    def _refuse_kind(self, name: str, mode: int) -> None:
        """Raise ``RefusedError`` unless this is the mode of a file."""
        if stat.S_ISLNK(mode):
            raise RefusedError(
                f"{self.root}: {name} is a symbolic link, and none is followed below the store's folder: put "
                "what it leads to in its place"
            )
        if stat.S_ISDIR(mode):  # where the keys of other objects lie: of this key there is none
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(mode):
            kind = _KINDS.get(stat.S_IFMT(mode), "a device")
            raise RefusedError(
                f"{self.root}: {name} is {kind}, and only a file is read below the store's folder: remove it, or "
                "put the file back that was in its place"
            )
