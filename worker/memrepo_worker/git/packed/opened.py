"""Packs as libgit2 has them open: with their indexes in memory, where nobody can change them.

libgit2 maps an index into memory and checks its form once, when it opens it. What a disk makes of the file later it
believes: one flipped bit leads it behind the end of the index, or of the pack, and the process ends. So what it opens
is a copy of bytes that were held against their checksum, in a file that has no name and lies on no disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import weakref
from collections.abc import Mapping
from itertools import count
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, NoReturn

import pygit2

from memrepo_worker.git.pack_files import PackIndex, opening_places
from memrepo_worker.threads.giving_way import pieces

_PAGE_BYTES = 4096
_ABSENT = "0" * 40
_PACKS = "p"
# A link of 60 letters takes a block of the disk; led through this one, those to packs have 55.
_NOWHERE = "closed"
_FILES = "/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"


class OpenedPacks:
    """Some packs of one ``objects`` folder, for libgit2 to read: those that were added.

    Its folder has links, by numbers, to the packs, which libgit2 closes and opens again as it needs them; and for a
    moment to their indexes, which it opens once. It is gone when this is.
    """

    backend: pygit2.OdbBackendPack
    """By which they are read, once there are any."""

    def __init__(self, objects_path: Path, *, in_memory: bool = False) -> None:
        """``in_memory``: its folder is made where that needs no room on the disk of ``objects``."""
        self._objects = objects_path
        self._in_memory = in_memory
        self._numbers = count(1)
        self._folder: Path | None = None
        self.memory_bytes = 0
        """What the indexes take in memory."""

    def add(self, indexes: Mapping[str, PackIndex]) -> None:
        """Open these packs, given by name with their indexes, which are sound.

        For each a file is open for a moment. Where one cannot be opened, all that were added are to be let go of.

        Raises:
            OSError: the machine does not let it.
            LookupError: one is not opened, and it cannot be seen why: by a fault of its own, or for lack of something
                that is there again.
        """
        folder = self._folder or self._begin()
        for name, index in indexes.items():
            # All of one length: "1" and "12" were one pack to libgit2.
            stem = folder / "pack" / f"{next(self._numbers):08d}"
            link = stem.with_suffix(".idx")
            with _unnamed(folder) as file:
                for piece in pieces(index.data):
                    file.write(piece)
                file.flush()
                stem.with_suffix(".pack").symlink_to(f"../{_PACKS}/{name}.pack")
                link.symlink_to(_path_of(file))
                self.backend.refresh()
                self.backend.exists(_ABSENT)  # for that it looks into each index
                link.unlink()
                link.symlink_to(_NOWHERE)
                if not self._is_open(folder, index):
                    _raise_trouble(name, file)
            link.unlink()
            self.memory_bytes += -(-len(index.data) // _PAGE_BYTES) * _PAGE_BYTES

    def _is_open(self, folder: Path, index: PackIndex) -> bool:
        """Whether libgit2 has opened an index, to which a link leads no more: it passes over what it cannot open.

        One more to read by sees this pack alone, and finds the index where the first one has it, as they share it.
        """
        _owner, backend = _reading(folder)
        sha = next(index.ids(), None)
        return sha is None or bool(backend.exists(sha))

    def _begin(self) -> Path:
        parent, prefix = opening_places(self._objects)[self._in_memory]
        folder = self._folder = Path(mkdtemp(prefix=prefix, dir=parent))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True).atexit = False
        (folder / "pack").mkdir(mode=0o700)
        (folder / _PACKS).symlink_to((self._objects / "pack").absolute() if self._in_memory else "../pack")
        self._owner, self.backend = _reading(folder)
        return folder


def _reading(folder: Path) -> tuple[pygit2.Odb, pygit2.OdbBackendPack]:
    """Return what reads packs, and its owner, who closes their files: alone it would keep each open for ever."""
    owner = pygit2.Odb()
    try:
        backend = pygit2.OdbBackendPack(str(folder))
    except (OSError, pygit2.GitError) as error:  # without a number
        os.scandir(folder / "pack").close()
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    owner.add_backend(backend, 1)
    return owner, backend


def _raise_trouble(name: str, index: IO[bytes]) -> NoReturn:
    """Raise why libgit2 has not opened a pack, as far as it can still be seen; it does not say."""
    with Path(_path_of(index)).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ):
        raise LookupError(f"{name} is not opened")


def _path_of(file: IO[bytes]) -> str:
    return f"{_FILES}/{file.fileno()}"


def _unnamed(folder: Path) -> IO[bytes]:
    """Return a new file without a name, in memory; on the disk of a folder where a machine lets nobody have those."""
    try:
        return os.fdopen(os.memfd_create("pack index"), "wb")
    except (OSError, AttributeError):  # only Linux and FreeBSD have it
        return TemporaryFile(dir=folder)
