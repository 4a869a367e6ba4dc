"""The packs of a repository on disk, read in process, through libgit2.

Measured side by side on a tree of 200 files of 2 KB: libgit2 5.7 ms, a long-lived ``git cat-file`` 7.2 ms; and
there is no process to keep, count and restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pygit2

from memrepo_worker.git.objects import GitObject, Kind
from memrepo_worker.git.pack_files import PackFiles, Sizes
from memrepo_worker.git.packed.large_objects import LARGE_BYTES, read_in_steps

Found = TypeVar("Found")
Header = tuple[Kind, int]

_MAPPED_BYTES_MAX = 32 * 1024 * 1024
# With 1 GiB, its default, a pack over that limit was mapped anew by every other look.
_WINDOW_BYTES = 128 * 1024
_KINDS = {kind.value: kind for kind in Kind}  # an enumeration takes five times as long to be asked


def limit_open_packs(packs_max: int, mapped_bytes_max: int = _MAPPED_BYTES_MAX) -> None:
    """Have libgit2 keep at most that many packs open, and about so much of them in memory, in this process.

    The least recently used go. Thousands of warm repositories fit neither under 1,024 open files nor into memory.
    """
    pygit2.settings.mwindow_file_limit = packs_max
    pygit2.settings.mwindow_mapped_limit = mapped_bytes_max
    pygit2.settings.mwindow_size = _WINDOW_BYTES


class ObjectMissingError(Exception):
    """A repository lacks an object that it should have, or holds it damaged."""


class PackDirectory:
    """The packs of a repository on disk.

    That an object is not here is said only where every pack is in order; else ``ObjectMissingError`` is raised.
    """

    def __init__(self, objects_path: Path, expected: Mapping[str, Sizes] | None = None) -> None:
        """``expected``: the packs that an earlier process left; None takes those that are there."""
        self._files = PackFiles(objects_path, expected)
        self._objects_path = objects_path
        self._is_looked_at = False
        self._open()

    def _open(self) -> None:
        # Files are closed by whoever owns the backend: standing alone it would keep every pack open for ever.
        self._owner = pygit2.Odb()
        self._backend = pygit2.OdbBackendPack(str(self._objects_path))
        self._owner.add_backend(self._backend, 1)

    def find(self, sha: str) -> GitObject | None:
        """Return an object, or None when it is not here; a large one is read in steps."""
        head = self.header(sha)
        if head is None:
            return None
        if head[1] >= LARGE_BYTES:
            large = read_in_steps(self._objects_path / "pack", self._files.expected, sha)
            if large is not None and (large.kind, len(large.data)) == head:
                return large
        found = self._look_up(sha, self._backend.read)
        return None if found is None else GitObject(_kind_of(found[0], sha), found[1])

    def header(self, sha: str) -> Header | None:
        """Return an object's kind and size in bytes, or None when it is not here."""
        found = self._look_up(sha, self._backend.read_header)
        return None if found is None else (_kind_of(found[0], sha), int(found[1]))

    def _look_up(self, sha: str, look: Callable[[str], tuple[int, Found]]) -> tuple[int, Found] | None:
        """Return what libgit2 finds, or None where every pack is in order, before and after it has looked.

        An index that is not as it was written could lead to another object, whose bytes libgit2 would give: so the
        first look is at the indexes themselves.
        """
        if not self._is_looked_at:
            self._refuse_if_damaged(sha)
            self._is_looked_at = True
        try:
            try:
                return look(sha)
            except KeyError:
                self._refuse_if_damaged(sha)
            with suppress(KeyError):
                return look(sha)  # what could not be opened the first time is no damage, and no absence
        except pygit2.GitError as error:
            raise ObjectMissingError(f"{sha} cannot be read: {error}") from error
        return None

    def ids_beginning(self, digits: str) -> Iterator[str]:
        """Yield the ids that begin so, by searching the packs' indexes: no list of all objects is made."""
        self._refuse_if_damaged(digits)
        found = list(self._search(digits))
        self._refuse_if_damaged(digits)
        return iter(found)

    def _search(self, digits: str) -> Iterator[str]:
        try:
            yield str(self._backend.exists_prefix(digits))
        except KeyError:
            return
        except ValueError:  # several: libgit2 does not say which, so ask with a digit more
            for digit in "0123456789abcdef":
                yield from self._search(digits + digit)
        except pygit2.GitError as error:
            raise ObjectMissingError(f"the packs' indexes cannot be read: {error}") from error

    def refresh(self) -> None:
        """Notice packs that were added since, by the caller."""
        self._backend.refresh()
        self._files.take_stock()

    def replace(self, names: Iterable[str]) -> None:
        """Do without packs whose objects lie in another that was added; then ``remove`` them."""
        self._files.replace(names)

    def remove(self, names: Iterable[str]) -> None:
        """Remove packs that were replaced. They are let go of first: nobody may read meanwhile."""
        self._files.remove(names)
        self._open()

    @property
    def files(self) -> Mapping[str, Sizes]:
        """The packs that there should be, and their sizes."""
        return self._files.expected

    def _refuse_if_damaged(self, sha: str) -> None:
        fault = self._files.fault()
        if fault is not None:
            raise ObjectMissingError(f"{sha} is not found, and {fault}")


def _kind_of(number: int, sha: str) -> Kind:
    try:
        return _KINDS[number]
    except KeyError as error:  # a flipped bit in a pack gives it a number that no kind has
        raise ObjectMissingError(f"{sha} is of no kind") from error
