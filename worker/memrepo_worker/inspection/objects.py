"""The objects of a journal that is being checked, in a repository that began empty; stock git takes each pack in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, GitTroubleError, ObjectFolder
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.taking_in import lacks_a_base
from memrepo_worker.git.reader import ObjectRefusedError, Reader
from memrepo_worker.inspection.damage import Damage, DamageFoundError, Kind
from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.ledger import LedgerLine, decode_lines

_ID = re.compile(r"\b[0-9a-f]{40}\b")
_PROBABLY = "probably another memory's, or a part of it is lost"


class Objects:
    """A place for objects; what is not in it is looked for in those that it ``builds_on``."""

    def __init__(self, git: Git, path: Path, builds_on: Objects | None = None) -> None:
        self.git = git
        self.path = path
        self.place = ObjectFolder(path / "objects")
        for folder in ("objects/pack", "objects/info"):
            (path / folder).mkdir(mode=0o700, parents=True)
        if builds_on is not None:
            (path / "objects/info/alternates").write_text(f"{builds_on.place.path.absolute()}\n")
        self._indexes: set[Path] = set()
        self._numbers = count(1)

    def beside(self) -> Objects:
        """Return another place, which builds on this one."""
        return Objects(self.git, self.path.with_name(f"{self.path.name}-{next(self._numbers)}"), self)

    def apart(self) -> Objects:
        """Return another place, which builds on nothing."""
        return Objects(self.git, self.path.with_name(f"{self.path.name}-{next(self._numbers)}"))

    def new_ids(self) -> set[bytes]:
        """Return the ids of all objects that came in since this was last asked."""
        ids: set[bytes] = set()
        for index in (self.place.path / "pack").glob("*.idx"):
            if index not in self._indexes:
                self._indexes.add(index)
                listed = self.git.run(["show-index"], repo=self.place, stdin=index.read_bytes())
                ids.update(bytes.fromhex(line.split()[1].decode()) for line in listed.splitlines())
        return ids

    def take(self, key: str, pack: bytes | memoryview, tips: Iterable[str], *, whole: bool = False) -> None:
        """Take one object's pack in, every part of it checked; a ``whole`` one must lack nothing of its own.

        Raises:
            DamageFoundError: git finds fault with it.
            GitTroubleError, GitOverBoundsError: the machine, or the bounds for git, do not let it.
        """
        try:
            if whole:
                self.git.index_whole_pack(self.path, pack)
            else:
                self.git.index_strict_pack(self.path, pack)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            raise DamageFoundError(self._damage(key, pack, tips, error)) from error
        self.reach(key, tips)

    def _damage(self, key: str, pack: bytes | memoryview, tips: Iterable[str], error: GitError) -> Damage:
        """Return what is wrong with a pack that was refused: it itself, or what is not there."""
        if lacks_a_base(error):
            detail = f"it has deltas of objects that are neither in it nor before it: {_PROBABLY}"
            return Damage(key, Kind.DISCONNECTED, detail)
        try:
            self.git.index_pack(self.path, pack)
            self.reach(key, tips)
        except DamageFoundError as found:
            return found.damage
        except GitError:
            pass
        return Damage(key, Kind.PACK, _line(error))

    def reach(self, key: str, tips: Iterable[str]) -> None:
        """Have git walk from commits and blobs to all that they lead to.

        Raises:
            DamageFoundError: something of it is not there.
        """
        wanted = "".join(f"{sha}\n" for sha in sorted({*tips}))
        arguments = ["rev-list", "--objects", "--quiet", "--stdin"]
        try:
            self.git.run(arguments, repo=self.place, stdin=wanted.encode())
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            found = _ID.search(str(error))
            which = f"object {found[0]}" if found else "an object"
            detail = f"it needs {which}, which is neither in it nor before it: {_PROBABLY}"
            raise DamageFoundError(Damage(key, Kind.DISCONNECTED, detail)) from error

    def check(self, key: str) -> None:
        """Have git check every object by itself.

        Raises:
            DamageFoundError: one is none.
        """
        try:
            self.git.run(["fsck", "--full", "--strict", "--no-dangling", "--no-progress"], repo=self.place)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            raise DamageFoundError(Damage(key, Kind.PACK, _line(error))) from error

    def reader(self) -> Reader:
        """Return what reads the objects that are there now."""
        return Reader(PackDirectory(self.place.path, proven=True))

    def commits(self, tips: Iterable[str]) -> int:
        """Return how many commits lead to these."""
        wanted = "".join(f"{sha}\n" for sha in tips)
        return int(self.git.run(["rev-list", "--count", "--stdin"], repo=self.place, stdin=wanted.encode()))


def ledger_of(key: str, part: Entry, reader: Reader) -> tuple[LedgerLine, ...]:
    """Return the ledger lines of an entry, base or segment.

    Raises:
        DamageFoundError: it has none, or one that is none.
    """
    try:
        return decode_lines(reader.blob(part.ledger_sha))
    except (ObjectMissingError, ObjectRefusedError) as error:
        raise DamageFoundError(Damage(key, Kind.LEDGER, f"its ledger is not there: {error}")) from error
    except ValueError as error:
        raise DamageFoundError(Damage(key, Kind.LEDGER, str(error))) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
