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
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memrepo_worker.store.backends.file_names import path_of
from memrepo_worker.store.backends.file_tree import listed
from memrepo_worker.store.causes import words_of_errno
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    ListedObject,
    NotThereError,
    PreconditionFailedError,
    RefusedError,
    StoredObject,
    StoreError,
    UnavailableError,
    Version,
    When,
)

TEMPORARY = ".temporary"
LOCK = ".lock"
_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_UNAVAILABLE = {errno.EIO, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOENT, errno.ESTALE}
_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "raise the quota, or make room there",
    errno.EROFS: "mount it so that it can be written",
}
_FOLDERS_REMEMBERED_MAX = 50_000
_NOT_THE_FOLDER = "the folder is not the store that it was; mount or restore what was there"


class LocalStore:
    """Keeps objects as files below a folder; an object's version is the SHA-256 of its bytes."""

    def __init__(self, root: Path) -> None:
        """Open the folder, make it if need be, and sweep what dead writers left.

        Raises:
            RefusedError: the folder cannot be made or written.
        """
        self._root = root.absolute()
        self._temporary = self._root / TEMPORARY
        self._lock = threading.Lock()
        self._durable: set[Path] = set()
        self._anchor: _Anchor | None = None
        with _translating_os_errors(self._root):
            self._temporary.mkdir(parents=True, exist_ok=True)
            (self._root / LOCK).touch()
            self._sweep()
            with self._temporary_file(b""):
                pass

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
        path = path_of(self._root, key)
        data = _bytes_of(path)
        if data is None:
            raise UnavailableError(f"{path} is not there: {_NOT_THE_FOLDER}")
        self._anchor = _Anchor(path, data)

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

    def get(self, key: str) -> StoredObject:
        """Return the object, durable even if its writer is still between the link and the sync of the folder."""
        path = path_of(self._root, key)
        with self._at(path):
            try:
                with path.open("rb") as file:
                    data = file.read()
                    if os.fstat(file.fileno()).st_nlink > 1:
                        _sync_folder(path.parent)
            except _NO_SUCH_FILE:
                raise NotThereError(key) from None
        return StoredObject(data, _version(data))

    def put(self, key: str, data: bytes, when: When) -> Version:
        """Write the object if the condition holds."""
        path = path_of(self._root, key)
        with self._at(path):
            try:
                self._make_folder(path.parent)
                with self._temporary_file(data) as temporary:
                    if when is ABSENT:
                        _link(temporary, path)
                    else:
                        self._replace(temporary, path, when)
            except FileNotFoundError:
                self._durable.discard(path.parent)  # somebody removed it: made anew the next time
                raise
        return _version(data)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects, one folder after the other."""
        with self._at(self._root):
            yield from listed(self._root, prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; their folders stay, so that no rival's put loses its folder."""
        for key in keys:
            path = path_of(self._root, key)
            with self._at(path), self._locked(fcntl.LOCK_SH), suppress(*_NO_SUCH_FILE):
                path.unlink()
                _sync_folder(path.parent)

    def _replace(self, temporary: Path, path: Path, when: When) -> None:
        """Rename over; only a put that compares excludes other changes meanwhile."""
        with self._locked(fcntl.LOCK_SH if when is ALWAYS else fcntl.LOCK_EX):
            if when is not ALWAYS and _version_of_file(path) != when:
                raise PreconditionFailedError(path.name)
            temporary.rename(path)
            _sync_folder(path.parent)

    @contextmanager
    def _locked(self, mode: int) -> Iterator[None]:
        with (self._root / LOCK).open("rb") as file:
            fcntl.flock(file, mode)
            yield

    @contextmanager
    def _temporary_file(self, data: bytes) -> Iterator[Path]:
        """Write a synced temporary file; it goes away after the object has its name and its folder is synced."""
        with tempfile.NamedTemporaryFile(dir=self._temporary, delete=False) as file:
            path = Path(file.name)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                yield path
            finally:
                path.unlink(missing_ok=True)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder that survives a power cut: its name is synced in all the folders above it."""
        if folder in self._durable:
            return
        folder.mkdir(parents=True, exist_ok=True)
        for above in folder.parents:
            _sync_folder(above)
            if above == self._root:
                break
        with self._lock:
            if len(self._durable) >= _FOLDERS_REMEMBERED_MAX:
                self._durable.clear()
            self._durable.add(folder)

    def _sweep(self) -> None:
        """Remove temporary files of dead writers, after what they may have linked is durable."""
        dead = [path for path in self._temporary.iterdir() if _writer_is_dead(path)]
        if dead:
            os.sync()
        for path in dead:
            path.unlink(missing_ok=True)


class _Anchor:
    """A file that shows that the folder above it is the one that it was. A check costs one ``stat``."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._data = data
        self._seen: tuple[int, int, int] | None = None

    def check(self) -> None:
        """Return if the file is as it was; the same file after a mount has other numbers, so its bytes decide.

        Raises:
            UnavailableError: it is gone or another one.
        """
        try:
            status = self._path.stat()
            seen = (status.st_dev, status.st_ino, status.st_mtime_ns)
            if seen != self._seen:
                if _bytes_of(self._path) != self._data:
                    raise UnavailableError(f"{self._path} is another one: {_NOT_THE_FOLDER}")
                self._seen = seen
        except _NO_SUCH_FILE as error:
            said = words_of_errno(error.errno or 0, error.strerror)
            raise UnavailableError(f"{self._path}: {said}: {_NOT_THE_FOLDER}") from error


def _link(temporary: Path, path: Path) -> None:
    """Give the file its name, or find it taken; in both cases what has the name is durable afterwards."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise PreconditionFailedError(path.name) from None
    finally:
        _sync_folder(path.parent)


def _version(data: bytes) -> Version:
    return Version(hashlib.sha256(data).hexdigest())


def _version_of_file(path: Path) -> Version | None:
    data = _bytes_of(path)
    return None if data is None else _version(data)


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except _NO_SUCH_FILE:
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writer_is_dead(path: Path) -> bool:
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    return False


@contextmanager
def _translating_os_errors(path: Path) -> Iterator[None]:
    """Tell what the file system said in the words of the store interface."""
    try:
        yield
    except OSError as error:
        said = f"{path}: {words_of_errno(error.errno or 0, error.strerror)}"
        if error.errno in _UNAVAILABLE:
            raise UnavailableError(said) from error
        advice = _ADVICE.get(error.errno or 0, "memrepo must be able to read and write there")
        raise RefusedError(f"{said}; {advice}") from error
