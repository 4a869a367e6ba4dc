"""A commit's files while its edits are applied: each sees what those before it left.

What comes out is a pure function of the parent's tree and the edits. Nothing is read but what an edit needs.
"""

from __future__ import annotations

from collections.abc import Iterator

from memrepo.errors import InvalidRequestError, TooLargeError
from memrepo_worker.git.compare import is_binary
from memrepo_worker.git.edits import FileEdit
from memrepo_worker.git.objects import TreeEntry
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import differences, entry_at
from memrepo_worker.threads.giving_way import texts


class EditedFile:
    """A file that an edit has written. ``is_text`` once that has been looked at.

    What is appended waits beside what is there until somebody wants all of it: a line costs no copy of a file.
    """

    __slots__ = ("_parts", "executable", "is_text", "size")

    def __init__(self, data: bytes, *, executable: bool) -> None:
        self._parts = [data]
        self.size = len(data)
        self.executable = executable
        self.is_text = False

    @property
    def data(self) -> bytes:
        """All that is in it."""
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def write(self, data: bytes) -> None:
        """Have it hold this alone."""
        self._parts = [data]
        self.size = len(data)

    @property
    def ends_within_line(self) -> bool:
        """Whether there is a last line, and no break at its end."""
        last = next((part for part in reversed(self._parts) if part), b"\n")
        return not last.endswith(b"\n")

    def append(self, text: bytes) -> None:
        """Add to its end."""
        self._parts.append(text)
        self.size += len(text)


Present = TreeEntry | EditedFile

_NAMES_PER_ENTRY = 20


class WorkingTree:
    """The files of a parent's tree, and over them what was edited."""

    def __init__(self, reader: Reader, tree: str | None, edited_bytes_max: int) -> None:
        self._reader = reader
        self._tree = tree
        self._edited: dict[str, Present | None] = {}
        self._bytes_left = self._edited_bytes_max = edited_bytes_max

    def find(self, path: str) -> Present | None:
        """Return the file, link or submodule at a path, or None where there is none."""
        if path in self._edited:
            return self._edited[path]
        entry = entry_at(self._reader, self._tree, path) if self._tree else None
        return None if entry is None or entry.is_tree else entry

    def below(self, folder: str) -> dict[str, Present]:
        """Return what is in a folder, and in those in it, by its path; nothing where there is no such folder."""
        found: dict[str, Present] = {}
        entry = entry_at(self._reader, self._tree, folder) if self._tree else None
        if entry is not None and entry.is_tree:
            for delta in differences(self._reader, None, entry.sha, f"{folder}/"):
                if delta.new is not None:
                    found[delta.path] = delta.new
        # Looking through these costs little, and a folder of 100,000 files may be moved by each of 1,000 edits.
        self._reader.walked(1 + len(self._edited) // _NAMES_PER_ENTRY)
        for path, present in self._edited.items():
            if path.startswith(f"{folder}/"):
                if present is None:
                    found.pop(path, None)
                else:
                    self._reader.walked()
                    found[path] = present
        return found

    def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        """Write a file; ``executable=None`` keeps its mode."""
        if executable is None:
            there = self.find(path)
            executable = there is not None and there.executable
        self._edited[path] = EditedFile(data, executable=executable)

    def put(self, path: str, present: Present) -> None:
        """Have at a path what was somewhere."""
        self._edited[path] = present

    def remove(self, path: str) -> None:
        """Have nothing at a path."""
        self._edited[path] = None

    def open_text(self, path: str, where: str) -> EditedFile | None:
        """Return a text file to be changed in place, or None where there is none.

        Raises:
            InvalidRequestError: what is there is not text.
            TooLargeError: the edits of the request would go through more bytes than they may.
        """
        there = self.find(path)
        if there is None:
            return None
        if isinstance(there, TreeEntry):
            if not there.is_file:
                raise _no_text(where, path, "a link or a submodule")
            self.spend(self._reader.size(there.sha), where)
            there = EditedFile(self._reader.blob(there.sha), executable=there.executable)
            self._edited[path] = there
        if not there.is_text:
            if not _is_text(there.data):
                raise _no_text(where, path, "a binary file")
            there.is_text = True
        return there

    def spend(self, count: int, where: str) -> None:
        """Note that an edit goes through so many bytes.

        Raises:
            TooLargeError: all together that is more than the edits of one request may.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise TooLargeError.of(
                where,
                f"the edits up to here would go through more than {self._edited_bytes_max} bytes of files: send them "
                "as several commits, or raise MEMREPO_EDITED_BYTES_MAX at the workers",
                bound="edited_bytes_max",
            )

    def edits(self) -> Iterator[FileEdit]:
        """Yield all that was changed, as what is at each path in the end."""
        for path, present in self._edited.items():
            if present is None:
                yield FileEdit(path, None)
            elif isinstance(present, TreeEntry):
                yield FileEdit(path, None, entry=present)
            else:
                yield FileEdit(path, present.data, present.executable)


def _is_text(data: bytes) -> bool:
    if is_binary(data):
        return False
    try:
        for _ in texts(data):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _no_text(where: str, path: str, what: str) -> InvalidRequestError:
    return InvalidRequestError.of(
        f"{where}.path", f"{path!r} is {what}, and only text can be edited", path=path
    )
