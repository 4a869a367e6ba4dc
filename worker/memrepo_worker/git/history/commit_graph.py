"""The commit graph of a repository: by it git finds the commits that changed a file without reading every commit.

It only saves time. Git believes what it says, so it is believed only while each of its files ends in its own checksum.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import suppress
from pathlib import Path

from memrepo_worker.files.regular import lies_in_its_place, read_regular, regular, remove_folder
from memrepo_worker.git.command import Git, ObjectFolder

_SHA1_BYTES = 20
_CHAIN = "commit-graph-chain"
_NOTE = "written-up-to"  # git passes over it, as its name ends in none of git's


class CommitGraph:
    """The commit graph beside the packs below one ``objects`` folder."""

    def __init__(self, objects_path: Path) -> None:
        self._objects = objects_path
        self._folder = objects_path / "info" / "commit-graphs"
        self._sound: dict[str, int] = {}
        self._seq: int | None = None

    @property
    def seq(self) -> int:
        """The entry of the journal up to which it was written, also by an earlier process; 0 where it is of no use."""
        if self._seq is None:
            self._seq = self._noted() if self._is_sound() else 0
        return self._seq

    def _noted(self) -> int:
        try:
            return int(read_regular(self._folder / _NOTE))
        except (OSError, ValueError):
            return 0

    @property
    def place(self) -> ObjectFolder:
        """Where git is to run: with the graph, as far as every file of it is as it was written."""
        return ObjectFolder(self._objects, trusted=self._is_sound())

    def write(self, git: Git, tips: list[str], seq: int) -> None:
        """Take in what is new of the history that ``tips`` lead to, also which files each commit changed.

        ``tips`` are the branches after entry ``seq`` of the journal. What a run that was killed left is removed first,
        so nobody else may write at the same time.

        Raises:
            GitError: see ``Git.run``; what was there goes on being of use.
        """
        if not self._is_sound():
            for path in self._folder.glob("*"):
                remove_folder(path)
        for path in [*self._folder.glob("*.lock"), *self._folder.glob("tmp_*")]:
            remove_folder(path)
        git.run(
            ["commit-graph", "write", "--stdin-commits", "--changed-paths", "--split", "--no-progress"],
            repo=ObjectFolder(self._objects),
            stdin="".join(f"{sha}\n" for sha in tips).encode(),
        )
        self._seq = seq
        with suppress(OSError):  # a later process writes it anew then
            number = regular(self._folder / _NOTE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(number, "wb") as note:
                note.write(b"%d" % seq)

    def _is_sound(self) -> bool:
        if lies_in_its_place(self._folder / _CHAIN):
            return False
        return all(self._is_whole(path) for path in self._folder.glob("*.graph"))

    def _is_whole(self, path: Path) -> bool:
        """Whether a file ends in the checksum of the rest, as its name says.

        It is read each time that git is to run with it, which takes 0.1 ms for the graph of 10,000 commits: what a disk
        forgets shows in no file's time, and git leaves commits out for it, or ends. What was sound is known again by
        its CRC-32, a third of the cost of SHA-1.
        """
        try:
            data = read_regular(path)
        except OSError:
            return False
        crc32 = zlib.crc32(data)
        if self._sound.get(path.name) != crc32:
            digest = hashlib.sha1(data[:-_SHA1_BYTES], usedforsecurity=False).digest()
            if digest != data[-_SHA1_BYTES:] or path.name != f"graph-{digest.hex()}.graph":
                return False
            self._sound[path.name] = crc32
        return True
