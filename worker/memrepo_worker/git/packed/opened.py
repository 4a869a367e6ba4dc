"""Packs as libgit2 has them open: with their indexes in memory, where nobody can change them.

libgit2 maps an index into memory and checks its form once, when it opens it. What a disk makes of the file later it
believes: one flipped bit leads it behind the end of the index, or of the pack, and the process ends. So what it opens
is a copy of bytes that were held against their checksum, in a file that has no name and lies on no disk.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO

import pygit2

from memrepo_worker.git.pack_files import OPENED_PREFIX
from memrepo_worker.threads.giving_way import pieces

_PAGE_BYTES = 4096
_ABSENT = "0" * 40
_PACKS = "p"
# A link of 60 letters takes a block of the disk; led through this one, those to packs have 55.


class OpenedPacks:
    """Some packs of one ``objects`` folder, for libgit2 to read: those that were added.

    Its folder has links, by numbers, to the packs, which libgit2 closes and opens again as it needs them; and for a
    moment to their indexes, which it opens once. It is gone when this is.
    """

    backend: pygit2.OdbBackendPack
    """By which they are read, once there are any."""

    def __init__(self, objects_path: Path) -> None:
        self._objects = objects_path
        self._numbers = count(1)
        self._folder: Path | None = None
        self.memory_bytes = 0
        """What the indexes take in memory."""

    def add(self, indexes: Mapping[str, bytes]) -> None:
        """Open these packs, given by name with the bytes of their indexes, which are sound.

        For each a file is open for a moment.

        Raises:
            OSError: the machine does not let it.
        """
        folder = self._folder or self._begin()
        with ExitStack() as files:
            for name, data in indexes.items():
                # All of one length: "1" and "12" were one pack to libgit2.
                stem = folder / "pack" / f"{next(self._numbers):08d}"
                file = files.enter_context(_unnamed(folder))
                for piece in pieces(data):
                    file.write(piece)
                file.flush()
                stem.with_suffix(".pack").symlink_to(f"../{_PACKS}/{name}.pack")
                stem.with_suffix(".idx").symlink_to(f"/proc/self/fd/{file.fileno()}")
                files.callback(stem.with_suffix(".idx").unlink)
                self.memory_bytes += -(-len(data) // _PAGE_BYTES) * _PAGE_BYTES
            self.backend.refresh()
            self.backend.exists(_ABSENT)  # for that it looks into each index

    def _begin(self) -> Path:
        folder = self._folder = Path(mkdtemp(prefix=OPENED_PREFIX, dir=self._objects))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True).atexit = False
        (folder / "pack").mkdir(mode=0o700)
        (folder / _PACKS).symlink_to("../pack")
        # Files are closed by whoever owns the backend: standing alone it would keep every pack open for ever.
        self._owner = pygit2.Odb()
        self.backend = pygit2.OdbBackendPack(str(folder))
        self._owner.add_backend(self.backend, 1)
        return folder


def _unnamed(folder: Path) -> IO[bytes]:
    """Return a new file without a name, in memory; on the disk of a folder where a machine lets nobody have those."""
    try:
        return os.fdopen(os.memfd_create("pack index"), "wb")
    except OSError:
        return TemporaryFile(dir=folder)
