"""Whose the files of a folder store are, and who else may read them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ownership:
    """Of new files and folders, as the store's own folder has it.

    Files are their owner's alone (0600 and 0700), and its group's where the folder is shared by a group, which may
    write in it. What root makes is the folder's owner's: workers need not run as whoever imports.
    """

    uid: int
    gid: int
    shared: bool

    @classmethod
    def of(cls, root: Path) -> Ownership:
        """Return how the folder has it."""
        status = root.stat()
        return cls(status.st_uid, status.st_gid, bool(status.st_mode & 0o020))

    def give(self, descriptor: int, *, folder: bool = False) -> None:
        """Give a new file or folder its mode and its owner."""
        mode = 0o700 if folder else 0o600
        os.fchmod(
            descriptor, mode | (mode >> 3 if self.shared else 0) | (0o2000 if folder and self.shared else 0)
        )
        if os.geteuid() == 0 and self.uid != 0:
            os.fchown(descriptor, self.uid, self.gid)
