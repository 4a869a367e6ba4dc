"""Files as they were at one commit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from memrepo.models.base import Content, ResultModel


class FileInfo(ResultModel):
    """A file's name and shape, without its content. ``size`` is in bytes, ``sha`` is git's blob id."""

    path: str
    sha: str
    size: int
    executable: bool = False


class MemoryFile(ResultModel):
    """One file at one commit. ``sha`` is git's blob id, ``size`` is in bytes."""

    path: str
    data: Content
    sha: str
    size: int
    executable: bool = False

    @property
    def text(self) -> str:
        """The content as text; raises ``UnicodeDecodeError`` for a binary file."""
        return self.data.decode()

    @property
    def sha256(self) -> str:
        """The content's sha256, as ``expected_sha256`` wants it."""
        return hashlib.sha256(self.data).hexdigest()


class Snapshot(ResultModel, Mapping[str, MemoryFile]):
    """The files of one commit: a mapping from path to ``MemoryFile``."""

    commit_sha: str
    files: dict[str, MemoryFile]

    def __getitem__(self, path: str) -> MemoryFile:
        return self.files[path]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # a mapping iterates over its keys
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class Match(ResultModel):
    """A line in which a search has found what it looked for: ``line`` counts from 1, ``text`` has no line break.

    ``before`` and ``after`` are the lines around it, as many as ``context`` said or as there are. Bytes that are not
    UTF-8 are replaced. ``limit_reached`` is true of the last one where the search ended as it had found ``limit`` of
    them: there may be more behind it.
    """

    path: str
    line: int
    text: str
    before: list[str]
    after: list[str]
    limit_reached: bool = False
