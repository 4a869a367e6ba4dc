"""A store in a local folder: for one machine, or for several that share a POSIX file system.

An object is a file, never changed once it has its name: the bytes go to a temporary file, which is synced and then
linked (fails if the name is taken) or renamed to its name. A temporary file is locked by its writer, so whoever
finds one that is not locked knows that its writer died.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from memrepo_worker.store.backends.files.anchor import NO_SUCH_FILE, Anchor
from memrepo_worker.store.backends.files.beneath import Beneath
from memrepo_worker.store.backends.files.names import NAMES_MAX, names_of_key, path_of
from memrepo_worker.store.backends.files.ownership import Ownership
from memrepo_worker.store.backends.files.reading import read_range, read_whole, version_of
from memrepo_worker.store.backends.files.tree import folders, listed
from memrepo_worker.store.causes import words_of_errno
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    Absent,
    FolderPage,
    ListedObject,
    NotBegunError,
    NotThereError,
    Pin,
    PlaceBrokenError,
    PlaceTakenError,
    PreconditionFailedError,
    RefusedError,
    StoredObject,
    StoredRange,
    StoreError,
    UnavailableError,
    Version,
    When,
)

TEMPORARY = ".temporary"
LOCK = ".lock"
_UNAVAILABLE = {errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.ESTALE}
_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "raise the quota, or make room there",
    errno.EROFS: "mount it so that it can be written",
}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_FOLDERS_REMEMBERED_MAX = 50_000


Names = tuple[str, ...]


class LocalStore:
    """Keeps objects as files below a folder; an object's version is the SHA-256 of its bytes."""

    def __init__(self, root: Path, *, begin: bool = True) -> None:
        """Open the folder.

        ``begin``: make it if need be, sweep what dead writers left, and try it out; else the first write does that, and
        a folder that is not there is not made.

        Raises:
            NotBegunError: there is no such folder, and none is to be made.
            RefusedError: the folder cannot be made or written, or its file system lacks what a store needs.
        """
        self._root = root.absolute()
        self._beneath = Beneath(self._root)
        self._lock = threading.Lock()
        self._durable: set[Names] = set()
        self._anchor: Anchor | None = None
        self._ownership: Ownership | None = None
        with _translating_os_errors(self._root):
            if begin:
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._begin()
            elif not self._root.exists():
                _require_it_could_be_made(self._root)
                raise NotBegunError(
                    f"{self._root}: there is no such folder: check the address (a worker makes it, when it first "
                    "serves)"
                )

    def _begin(self) -> Ownership:
        """Make what writing needs, if need be, and return whose new files are."""
        with self._lock:
            if self._ownership is None:
                ownership = Ownership.of(self._root)
                with self._beneath.folder() as root:
                    self._make_beneath(root, TEMPORARY, ownership)
                    with suppress(FileExistsError):
                        lock = self._beneath.open(LOCK, root, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
                        ownership.give(lock)
                        os.close(lock)
                self._sweep()
                self._try_links(ownership)
                self._ownership = ownership
            return self._ownership

    def _try_links(self, ownership: Ownership) -> None:
        with self._temporary_file((), ownership) as (name, folder, _):
            other = f"{name}-link"
            try:
                os.link(name, other, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise RefusedError(
                    f"{self._root}: its file system has no hard links, by which an entry is written once and whole: "
                    "use another file system, or object storage"
                ) from error
            os.unlink(other, dir_fd=folder)

    @property
    def name(self) -> str:
        """The folder's address."""
        return self._root.as_uri()

    def anchor(self, key: str) -> None:
        """From now on answer nothing unless this object is as it is now: else the folder is another one.

        A volume that was unmounted, and a folder that was moved away, leave an empty folder at the same place, which
        must not be taken for an empty store.

        Raises:
            UnavailableError: there is no such object.
        """
        self._anchor = Anchor(path_of(self._root, key))

    @contextmanager
    def _at(self, path: Path) -> Iterator[None]:
        """Tell what the file system said, and only while the folder is the one that it was, before and after."""
        with _translating_os_errors(path):
            if self._anchor is None:
                yield
                return
            self._anchor.check()
            try:
                yield
            except (StoreError, OSError):
                self._anchor.check()
                raise
            self._anchor.check()

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        """Return the object."""
        with self._opened(key) as file:
            return read_whole(key, file, bytes_max)

    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        """Return some bytes of the object."""
        with self._opened(key) as file:
            return read_range(key, file, start, bytes_max, pin)

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        """Give an object's file, durable even if its writer is still between the link and the sync of the folder."""
        *above, name = names_of_key(key)
        with self._at(path_of(self._root, key)):
            try:
                with (
                    self._beneath.folder(above) as folder,
                    os.fdopen(self._beneath.open(name, folder), "rb") as file,
                ):
                    yield file
                    if os.fstat(file.fileno()).st_nlink > 1:
                        os.fsync(folder)
            except IsADirectoryError:
                raise PlaceTakenError(self._beneath.folder_in_place(name)) from None
            except NO_SUCH_FILE:
                raise NotThereError(key) from None

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        return self._put(key, (data,), when)

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        """Write the object from its parts if the condition holds."""
        parts_fault: list[Exception] = []
        try:
            return self._put(key, _keeping_fault(parts, parts_fault), when)
        except Exception:
            if parts_fault:  # told as it was, and not as if the folder had said it
                raise parts_fault[0] from None
            raise

    def _put(self, key: str, parts: Iterable[bytes], when: When) -> Version:
        *above, name = names_of_key(key)
        if len(above) >= NAMES_MAX:
            raise RefusedError(f"{self._root}: a key of more than {NAMES_MAX} names: {key[:NAMES_MAX]}…")
        with self._at(path_of(self._root, key)):
            ownership = self._ownership or self._begin()
            try:
                self._make_folder(tuple(above), ownership)
                with (
                    self._beneath.folder(above) as folder,
                    self._temporary_file(parts, ownership) as (temporary, temporaries, version),
                ):
                    if when is ABSENT:
                        self._link(temporary, temporaries, name, folder)
                    else:
                        self._replace(temporary, temporaries, name, folder, when)
            except FileNotFoundError:
                self._durable.discard(tuple(above))  # somebody removed it: made anew the next time
                raise
        return version

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, one folder after the other."""
        with self._at(self._root):
            yield from listed(self._beneath, prefix, start_after)

    def list_all(self, prefix: str) -> Iterator[ListedObject]:
        """Yield the objects, and what lies beside them under names that no key has."""
        own = (LOCK, f"{TEMPORARY}/")
        with self._at(self._root):
            yield from (
                item for item in listed(self._beneath, prefix, "", unnamed=True) if item.key not in own
            )

    def folders(self, prefix: str, after: str, names_max: int) -> FolderPage:
        """Return some folders of a folder, which is read once."""
        with self._at(self._root):
            return folders(self._beneath, prefix, after, names_max)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; their folders stay, so that no rival's put loses its folder."""
        for key in keys:
            *above, name = names_of_key(key)
            with (
                self._at(path_of(self._root, key)),
                self._locked(fcntl.LOCK_SH),
                suppress(*NO_SUCH_FILE),
                self._beneath.folder(above) as folder,
            ):
                os.unlink(name, dir_fd=folder)
                os.fsync(folder)

    def _link(self, temporary: str, temporaries: int, name: str, folder: int) -> None:
        """Give the file its name, or find it taken; in both cases what has the name is durable afterwards."""
        try:
            os.link(temporary, name, src_dir_fd=temporaries, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            self._beneath.refuse_folder(name, folder)
            raise PreconditionFailedError(name) from None
        finally:
            os.fsync(folder)

    def _replace(self, temporary: str, temporaries: int, name: str, folder: int, when: When) -> None:
        """Rename over; only a put that compares excludes other changes meanwhile."""
        with self._locked(fcntl.LOCK_SH if when is ALWAYS else fcntl.LOCK_EX):
            if when is not ALWAYS and self._version_of(name, folder) != when:
                raise PreconditionFailedError(name)
            os.rename(temporary, name, src_dir_fd=temporaries, dst_dir_fd=folder)
            os.fsync(folder)

    def _version_of(self, name: str, folder: int) -> Version | None:
        try:
            with os.fdopen(self._beneath.open(name, folder), "rb") as file:
                return version_of(file)
        except NO_SUCH_FILE:
            return None

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        if self._ownership is None:
            self._begin()
        with self._beneath.folder() as root:
            lock = self._beneath.open(LOCK, root)
        try:
            fcntl.flock(lock, mode)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _temporary_file(
        self, parts: Iterable[bytes], ownership: Ownership
    ) -> Iterator[tuple[str, int, Version]]:
        """Write a synced temporary file, and give its name, its folder and the version of what it holds.

        It goes away after the object has its name and its folder is synced.
        """
        name = f"tmp-{uuid.uuid4().hex}"
        with (
            self._beneath.folder((TEMPORARY,)) as folder,
            os.fdopen(self._beneath.open(name, folder, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file,
        ):
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                ownership.give(file.fileno())
                digest = hashlib.sha256()
                for part in parts:
                    file.write(part)
                    digest.update(part)
                file.flush()
                os.fsync(file.fileno())
                yield name, folder, Version(digest.hexdigest())
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    def _make_folder(self, names: Names, ownership: Ownership) -> None:
        """Make a folder that survives a power cut: its name is synced in all the folders above it."""
        if names in self._durable:
            return
        for depth, name in enumerate(names):
            with self._beneath.folder(names[:depth]) as above:
                self._make_beneath(above, name, ownership)
                os.fsync(above)
        with self._lock:
            if len(self._durable) >= _FOLDERS_REMEMBERED_MAX:
                self._durable.clear()
            self._durable.add(names)

    def _make_beneath(self, above: int, name: str, ownership: Ownership) -> None:
        """Make a folder in another one, unless it is there."""
        try:
            os.mkdir(name, 0o700, dir_fd=above)
        except FileExistsError:
            return
        made = self._beneath.open(name, above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            ownership.give(made, folder=True)
        finally:
            os.close(made)

    def _sweep(self) -> None:
        """Remove temporary files of dead writers, after what they may have linked is durable."""
        with self._beneath.folder((TEMPORARY,)) as folder:
            dead = [entry.name for entry in os.scandir(folder) if self._writer_is_dead(entry.name, folder)]
            if dead:
                os.sync()
            for name in dead:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    def _writer_is_dead(self, name: str, folder: int) -> bool:
        with suppress(FileNotFoundError), os.fdopen(self._beneath.open(name, folder), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        return False


def _keeping_fault(parts: Iterable[bytes], fault: list[Exception]) -> Iterator[bytes]:
    try:
        yield from parts
    except Exception as error:
        fault.append(error)
        raise


@contextmanager
def _translating_os_errors(path: Path) -> Iterator[None]:
    """Tell what the file system said in the words of the store interface."""
    try:
        yield
    except OSError as error:
        said = f"{path}: {words_of_errno(error.errno or 0, error.strerror)}"
        if error.errno == errno.EIO:
            raise PlaceBrokenError(said) from error
        if error.errno in _UNAVAILABLE:
            raise UnavailableError(said) from error
        advice = _ADVICE.get(error.errno or 0, "memrepo must be able to read and write there")
        raise RefusedError(f"{said}; {advice}") from error


def _require_it_could_be_made(folder: Path) -> None:
    """Raise the ``OSError`` that making a folder would meet."""
    nearest = next(parent for parent in folder.parents if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(nearest))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
