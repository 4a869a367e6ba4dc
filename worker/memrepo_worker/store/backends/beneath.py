"""Files below one folder, reached without following a link: whoever may write there leads nobody elsewhere.

A link in an agent's folder would have a worker read another agent's files, or remove them. So each folder below the
root is opened from the one above it, and none that is a link. (The root itself may be reached through links: they are
the operator's.)
"""

from __future__ import annotations

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
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise RefusedError(
                    f"{self.root}: {name} is a symbolic link, and none is followed below the store's folder: put "
                    "what it leads to in its place"
                )

    def open(self, name: str, folder: int, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
        """Open a file in a folder.

        Raises:
            RefusedError: it is a link.
        """
        try:
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
        except OSError:
            self.refuse_link(name, folder)
            raise
