"""Joining a run of a journal's entries into one bundle, by stock git, and having stock git verify it.

Every object of the entries is in it once, also those that no ref reaches: a later commit may have started there, and
who knows an id can go on reading it. Only the ledgers are joined into one. Packs are taken apart and made on disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

from memrepo_worker.git.command import (
    Git,
    GitError,
    GitOverBoundsError,
    GitTooSlowError,
    GitTroubleError,
    ObjectFolder,
)
from memrepo_worker.git.packs import TRAILER_BYTES, join_packs
from memrepo_worker.git.reader import ObjectMissingError, PackDirectory, Reader
from memrepo_worker.journal.entry import LEDGER_REF, Entry, JournalDamagedError, decode_entry, encode_joined
from memrepo_worker.journal.ledger import LedgerLine, decode_lines, encode_lines
from memrepo_worker.journal.runs import Run
from memrepo_worker.upkeep.lone import require_whole_on

_DELTA_DEPTH = 20  # a chain of 100 of a large file takes long to read
_WINDOW_MEMORY = "32m"

Lines = Sequence[LedgerLine]
KeptLines = Callable[[Lines], Lines]
"""Says which ledger lines go into a bundle."""


class Joiner:
    """Joins the runs of one journal, one after the other, in a folder of its own.

    What was joined before, or lies in the store joined, is kept in a repository that began empty: there each new one is
    verified, together with what it builds on. With a ``warm`` repository of this memory nothing of that is needed: each
    new one is verified alone, and what it lacks must be what its prerequisites have there. ``workers_git`` has a
    worker's bounds and time-out. Used by one thread.
    """

    def __init__(self, git: Git, workers_git: Git, folder: Path, warm: Path | None = None) -> None:
        self._git = git
        self._workers_git = workers_git
        self._folder = folder
        self.takes = warm is None
        """Whether it has to be given what lies between the runs that are joined."""
        self._verified = _make_objects(folder / "verified.git") if warm is None else warm
        self._numbers = count(1)
        self._tips: set[str] = set()  # all that these lead to is known to be there

    def take(self, part: Entry) -> None:
        """Take in what the store has already, in its place between the runs that are joined.

        Raises:
            JournalDamagedError: git does not take it; and as ``join``.
        """
        try:
            self._git.index_pack(self._verified, part.pack)
            self._reach(part)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            raise JournalDamagedError(
                f"what stands for the entries up to {part.seq} is no whole: {error}", part.seq
            ) from error

    def join(self, run: Run, batches: Iterable[Sequence[Entry]], last: Entry, keep: KeptLines) -> bytes:
        """Return the bundle that stands for a run; ``last`` is its last entry, whose header it gets.

        ``batches`` are the run's entries in order, or what stands for some of them; of all their ledger lines it has
        those that ``keep`` returns. It was verified, and what is joined next builds on it.

        Raises:
            JournalDamagedError: they do not make a whole; nothing was changed.
            GitTroubleError: the machine does not let it; nothing was changed.
            GitOverBoundsError: nor do the bounds for git, or no worker could open it.
        """
        try:
            work = _Work(self._git, self._folder / f"work-{next(self._numbers)}.git", self._verified)
            work.take_in(batches)
            data = work.bundle(run, last, keep)
            self._verify(run, data, last, work.path)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except (GitError, ObjectMissingError, ValueError) as error:
            raise JournalDamagedError(
                f"the entries up to {run.last} do not make a whole: {error}", run.last
            ) from error
        shutil.rmtree(work.path, ignore_errors=True)
        return data

    def _verify(self, run: Run, data: bytes, last: Entry, folder: Path) -> None:
        """Have stock git read it as a stranger would, into the repository that holds what it builds on."""
        self._git.require_entry(len(data))
        part = decode_entry(run.last, data)
        file = folder / "joined.bundle"
        file.write_bytes(data)
        objects = ObjectFolder(self._verified / "objects")
        heads = self._git.run(["bundle", "list-heads", str(file)], repo=objects).decode()
        refs = dict(line.split(" ", 1)[::-1] for line in heads.splitlines())
        if {name: sha for name, sha in refs.items() if name not in ("HEAD", LEDGER_REF)} != dict(last.refs):
            raise ValueError("its refs are not those of its last entry")
        if run.is_base and part.prerequisites:
            raise ValueError("it needs commits that are not in it")
        file.unlink()
        self._require_opens(part)
        if self.takes:
            self._git.index_whole_pack(self._verified, part.pack)
            self._reach(part)
            return
        place = _make_objects(self._folder / "alone.git")
        try:
            require_whole_on(self._git, part, place, ObjectFolder(self._verified / "objects", trusted=False))
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _require_opens(self, part: Entry) -> None:
        """Have git take it in as a worker will, in no more time: what none could open would only slow them down."""
        place = _make_objects(self._folder / "opened.git", builds_on=self._verified)
        try:
            self._workers_git.index_pack(place, part.pack)
        except (GitOverBoundsError, GitTooSlowError) as error:
            raise GitOverBoundsError(
                f"no worker could open the entries up to {part.seq} joined, so they stay as they are: {error}"
            ) from error
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _reach(self, part: Entry) -> None:
        """Have git walk from its refs, and from what it builds on, to all that they lead to."""
        wanted = {*part.refs.values(), part.ledger_sha, *part.prerequisites}
        tips = "".join(f"{sha}\n" for sha in wanted) + "".join(f"^{sha}\n" for sha in self._tips)
        self._git.run(
            ["rev-list", "--objects", "--quiet", "--stdin"],
            repo=ObjectFolder(self._verified / "objects"),
            stdin=tips.encode(),
        )
        self._tips = set(part.refs.values())


class _Work:
    """One run being joined: its objects, beside those that it builds on."""

    def __init__(self, git: Git, path: Path, builds_on: Path) -> None:
        self.path = _make_objects(path, builds_on)
        self._git = git
        self._place = ObjectFolder(path / "objects")
        self._ends: dict[str, int] = {}  # where in each pack begins what git completed it with
        self._lines: list[LedgerLine] = []
        self._ledgers: set[str] = set()
        self._refs: set[str] = set()
        self._needed: set[str] = set()

    def take_in(self, batches: Iterable[Sequence[Entry]]) -> None:
        """Take in the entries, some at a time."""
        for batch in batches:
            self._index(batch)
            reader = Reader(PackDirectory(self.path / "objects"))
            for part in batch:
                self._lines += decode_lines(reader.blob(part.ledger_sha))
                self._ledgers.add(part.ledger_sha)
                self._refs.update(part.refs.values())
                self._needed.update(part.prerequisites)

    def _index(self, batch: Sequence[Entry]) -> None:
        """Have git take in their objects, together where it does, as it takes none twice that another follows from."""
        pack = join_packs(part.pack for part in batch)
        if pack is None:
            return
        try:
            name = self._git.index_pack(self.path, pack)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError:
            if len(batch) == 1:
                raise
            self._index(batch[: len(batch) // 2])
            self._index(batch[len(batch) // 2 :])
            return
        self._ends[f"pack-{name}"] = len(pack) - TRAILER_BYTES

    def bundle(self, run: Run, last: Entry, keep: KeptLines) -> bytes:
        """Return the bundle of everything that was taken in."""
        ids = self._ids()
        commits = self._commits(ids)
        outside = sorted(self._needed - ids)
        if run.is_base and outside:
            raise ValueError(f"{outside[0]} is needed, and is in no entry")
        ledger = encode_lines(keep(self._lines))
        ledger_sha = self._git.run(["hash-object", "-w", "--stdin"], repo=self._place, stdin=ledger)
        wanted = [*self._wanted(ids, commits, outside), ledger_sha.strip()]
        pack = self._pack(b"".join(line + b"\n" for line in wanted))
        return encode_joined(outside, last.refs, ledger_sha.decode().strip(), pack)

    def _ids(self) -> set[str]:
        """Return the ids of all objects that were taken in."""
        ids: set[str] = set()
        for index in (self._place.path / "pack").glob("*.idx"):
            listed = self._git.run(["show-index"], repo=self._place, stdin=index.read_bytes())
            end = self._ends[index.stem]
            places = (line.split() for line in listed.splitlines())
            ids.update(sha.decode() for offset, sha, *_ in places if int(offset) < end)
        return ids

    def _commits(self, ids: set[str]) -> list[str]:
        """Return those of them that lead to others: commits and tags."""
        check = ["cat-file", "--batch-check=%(objecttype) %(objectname)"]
        listed = self._git.run(check, repo=self._place, stdin="".join(f"{sha}\n" for sha in ids).encode())
        pairs = (line.split() for line in listed.decode().splitlines())
        return [sha for kind, sha in pairs if kind in ("commit", "tag")]

    def _wanted(self, ids: set[str], commits: Sequence[str], outside: Sequence[str]) -> list[bytes]:
        """Return what goes into the pack, in the order and with the names by which git finds what is like it.

        A ledger is left out, unless somebody has put the same bytes into a file.
        """
        tips = "".join(f"{sha}\n" for sha in commits) + "".join(f"^{sha}\n" for sha in outside)
        listed = self._git.run(
            ["rev-list", "--objects", "--topo-order", "--stdin"], repo=self._place, stdin=tips.encode()
        )
        reached = {line[:40].decode(): line for line in listed.splitlines()}
        left_out = self._ledgers - reached.keys() - self._refs
        in_order = [line for sha, line in reached.items() if sha in ids]
        return in_order + [sha.encode() for sha in sorted(ids - left_out - reached.keys())]

    def _pack(self, wanted: bytes) -> bytes:
        # By name, the base of a delta that another pack has, too, could not be taken in together with it.
        options = [
            "--quiet",
            "--no-reuse-delta",
            "--delta-base-offset",
            f"--depth={_DELTA_DEPTH}",
            f"--window-memory={_WINDOW_MEMORY}",
        ]
        where = self.path / "joined"
        named = self._git.run(["pack-objects", *options, str(where)], repo=self._place, stdin=wanted)
        return Path(f"{where}-{named.decode().strip()}.pack").read_bytes()


def _make_objects(path: Path, builds_on: Path | None = None) -> Path:
    """Make a place for objects, beside those of another, and return it."""
    for folder in ("objects/pack", "objects/info"):
        (path / folder).mkdir(mode=0o700, parents=True)
    if builds_on is not None:
        (path / "objects/info/alternates").write_text(f"{(builds_on / 'objects').absolute()}\n")
    return path
