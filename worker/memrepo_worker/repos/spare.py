"""Where a repository is opened while the cache folder cannot be used: a place that lasts as long as one turn."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux keeps files in memory


class SpareFolders:
    """Folders outside the cache's, on other file systems where the machine has some.

    ``name`` is this process's alone while it lives, and the same when it is started again: what an earlier one left
    behind is removed then.
    """

    def __init__(self, name: str, parents: tuple[Path, ...] | None = None) -> None:
        """``parents``: where to look for room; by default in memory, then where temporary files go."""
        self._name = name
        self._parents = parents
        self._numbers = count(1)
        self.clear()

    @classmethod
    def of_slot(cls, slot: Path) -> SpareFolders:
        """Return those of a slot of the cache: who has the slot has them."""
        place = hashlib.blake2b(str(slot.absolute()).encode(), digest_size=8).hexdigest()
        return cls(f"memrepo-{os.geteuid()}-{place}")

    def places(self) -> Iterator[Path]:
        """Yield new places for repositories, in the order in which they are to be tried; unusable ones are left out."""
        for folder in self._folders():
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                found = folder.lstat()
            except OSError:
                continue
            # Everybody may write beside it, so another may have made it before.
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
                yield folder / str(next(self._numbers))

    def clear(self) -> None:
        """Remove all of it."""
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _folders(self) -> Iterator[Path]:
        try:
            parents = self._parents or (_IN_MEMORY, Path(tempfile.gettempdir()))
        except OSError:  # nowhere is room for temporary files
            parents = (_IN_MEMORY,)
        return (parent / self._name for parent in parents)
