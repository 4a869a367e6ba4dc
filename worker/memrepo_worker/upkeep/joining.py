"""Joining a run of a journal's entries into one bundle, by stock git, and having stock git verify it.

Every object of the entries is in it once, also those that no ref reaches: a later commit may have started there, and
who knows an id can go on reading it. Only the ledgers are joined into one. Packs are taken apart and made on disk, and
what git lists goes from file to file: of a memory of any size there are its ids in our memory, and pieces of the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from mmap import ACCESS_READ, mmap
from pathlib import Path

from memrepo.limits import MIB
from memrepo_worker.git.command import (
    Git,
    GitError,
    GitOverBoundsError,
    GitTooSlowError,
    GitTroubleError,
    ObjectFolder,
)
from memrepo_worker.git.objects import Kind
from memrepo_worker.git.pack_files import move_packs
from memrepo_worker.git.pack_sizes import delta_bases
from memrepo_worker.git.packed.directory import ObjectMissingError, PackDirectory
from memrepo_worker.git.packed.unpacking import pack_into, unpack, unpacking_folder
from memrepo_worker.git.packs import TRAILER_BYTES
from memrepo_worker.git.reader import Reader
from memrepo_worker.journal.entry import LEDGER_REF, ORIGIN_REF, Head, JournalDamagedError, encode_joined
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.journal.runs import Run
from memrepo_worker.upkeep.ledger_file import LedgerFile
from memrepo_worker.upkeep.lone import require_whole_on
from memrepo_worker.upkeep.pack_ids import PackIds
from memrepo_worker.upkeep.part_files import Part, join_in_file

_DELTA_DEPTH = 20  # a chain of 100 of a large file takes long to read
_THIN_DELTA_DEPTH = 4  # up to 31 of a size may stand one on the other
_WINDOW_MEMORY = "32m"

_TAKEN_FILE = "taken.pack"
_UNPACKED_BYTES_MAX = 256 * MIB
"""How much may lie unpacked of what git does not take in together."""

Lines = Iterable[LedgerLine]
"""Ledger lines, which may be gone through several times."""

KeptLines = Callable[[Lines], Lines]
"""Says which ledger lines go into a bundle."""


class Joiner:
    """Joins the runs of one journal, one after the other, in a folder of its own.

    What was joined before, or lies in the store joined, is kept in a repository that began empty: there each new one is
    verified, together with what it builds on. With a ``warm`` repository of this memory nothing of that is needed: each
    new one is verified alone, and what it lacks must be what its prerequisites have there. ``workers_git`` may
    take no more processor time than a worker has to open it. Used by one thread.
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

    def take(self, part: Part) -> None:
        """Take in what the store has already, in its place between the runs that are joined.

        Raises:
            JournalDamagedError: git does not take it; and as ``join``.
        """
        try:
            _index(self._git, self._verified, [part], self._folder / "taken.pack")
            self._reach(part.head)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            raise JournalDamagedError(
                f"what stands for the entries up to {part.head.seq} is no whole: {error}", part.head.seq
            ) from error

    def join(self, run: Run, batches: Iterable[Sequence[Part]], last: Head, keep: KeptLines) -> Path:
        """Return a file with the bundle that stands for a run; ``last`` is its last entry, whose header it gets.

        ``batches`` are the run's entries in order, or what stands for some of them; of all their ledger lines it has
        those that ``keep`` returns. It was verified, and what is joined next builds on it.

        Raises:
            JournalDamagedError: they do not make a whole; nothing was changed.
            GitTroubleError: the machine does not let it; nothing was changed.
            GitOverBoundsError: nor do the bounds for git, or no worker could open it.
        """
        name = f"work-{next(self._numbers)}"
        try:
            work = _Work(self._git, self._folder / f"{name}.git", self._verified)
            work.take_in(batches, is_base=run.is_base)
            made = self._folder / f"{name}.bundle"
            is_thin = work.bundle(run, last, keep, made)
            shutil.rmtree(work.path, ignore_errors=True)
            self._verify(run, made, last, is_thin=is_thin)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except (GitError, ObjectMissingError, ValueError) as error:
            raise JournalDamagedError(
                f"the entries up to {run.last} do not make a whole: {error}", run.last
            ) from error
        return made

    def _verify(self, run: Run, made: Path, last: Head, *, is_thin: bool) -> None:
        """Have stock git read it as a stranger would, into the repository that holds what it builds on."""
        self._git.require_entry(made.stat().st_size)
        part = Part.of(run.last, made)
        objects = ObjectFolder(self._verified / "objects")
        heads = self._git.run(["bundle", "list-heads", str(made)], repo=objects).decode()
        refs = dict(line.split(" ", 1)[::-1] for line in heads.splitlines())
        ours = ("HEAD", LEDGER_REF, ORIGIN_REF)
        if {name: sha for name, sha in refs.items() if name not in ours} != dict(last.refs):
            raise ValueError("its refs are not those of its last entry")
        if run.is_base and part.head.prerequisites:
            raise ValueError("it needs commits that are not in it")
        try:
            self._require_whole(part, is_thin=is_thin)
        except (GitOverBoundsError, GitTooSlowError) as error:
            raise GitOverBoundsError(
                f"no worker could open the entries up to {run.last} joined, so they stay as they are: {error}"
            ) from error

    def _require_whole(self, part: Part, *, is_thin: bool) -> None:
        """Have git take it in, and walk it, in no more processor time than a worker has to open it.

        What none could open would only slow them down; that its objects are checked, too, takes longer yet.
        """
        if self.takes:
            with part.pack.path.open("rb") as file:
                file.seek(part.pack.start)
                self._workers_git.index_whole_pack(self._verified, file)
            self._reach(part.head)
            return
        place = _make_objects(self._folder / "alone.git")
        try:
            warm = ObjectFolder(self._verified / "objects", trusted=False)
            require_whole_on(self._workers_git, part, place, warm, is_thin=is_thin)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _reach(self, head: Head) -> None:
        """Have git walk from its refs, and from what it builds on, to all that they lead to."""
        tips = "".join(f"{sha}\n" for sha in head.named) + "".join(f"^{sha}\n" for sha in self._tips)
        self._git.run(
            ["rev-list", "--objects", "--quiet", "--stdin"],
            repo=ObjectFolder(self._verified / "objects"),
            stdin=tips.encode(),
        )
        self._tips = set(head.refs.values())


class _Work:
    """One run being joined: its objects, beside those that it builds on."""

    def __init__(self, git: Git, path: Path, builds_on: Path) -> None:
        self.path = _make_objects(path, builds_on)
        self._git = git
        self._place = ObjectFolder(path / "objects")
        self._ids = PackIds()
        self._ledger = LedgerFile(path / "ledger")
        self._ledgers: set[str] = set()
        self._refs: set[str] = set()
        self._needed: set[str] = set()
        self._bytes_taken = 0

    def take_in(self, batches: Iterable[Sequence[Part]], *, is_base: bool) -> None:
        """Take in the entries, some at a time; those of a base build on nothing but each other."""
        for batch in batches:
            self._take_packs(batch, is_base=is_base)
            reader = Reader(PackDirectory(self.path / "objects", proven=True))
            for part in batch:
                self._ledger.add(part.head.ledger_sha, reader, self._git, self._place)
                self._ledgers.add(part.head.ledger_sha)
                self._refs.update(part.head.refs.values())
                self._needed.update(part.head.prerequisites)
                self._bytes_taken += part.pack.size

    def _take_packs(self, batch: Sequence[Part], *, is_base: bool) -> None:
        """Have git take in their objects, together: by some processes for each that may lie unpacked at once.

        ``git index-pack`` takes no object twice that another follows from, and takes each pack alone.
        """
        left = [batch]
        while left:
            some = left.pop()
            try:
                self._index(some)
            except (GitTroubleError, GitOverBoundsError):
                raise
            except GitError:
                if len(some) == 1:
                    raise
                try:
                    self._unpack(some, is_base=is_base)
                except GitOverBoundsError:
                    middle = len(some) // 2
                    left += some[middle:], some[:middle]

    def _index(self, batch: Sequence[Part]) -> None:
        taken = _index(self._git, self.path, batch, self.path / _TAKEN_FILE)
        if taken is not None:
            name, count, size = taken
            self._ids.add(self.path / "objects/pack" / f"pack-{name}.idx", count, size - TRAILER_BYTES)

    def _unpack(self, batch: Sequence[Part], *, is_base: bool) -> None:
        """Take in objects by way of files, and what they are made from with them, as it may be among them again."""
        joined, objects = self.path / _TAKEN_FILE, self.path / "objects"
        join_in_file([part.pack for part in batch], joined)
        with joined.open("rb") as file:
            pack = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        with unpacking_folder(self.path / "unpacked") as folder:
            made_from = self._known(delta_bases(pack), is_base=is_base)
            pack_into(self._git, self._place, folder, made_from)
            unpack(self._git, [pack], folder, _UNPACKED_BYTES_MAX)
            names = [index.name for index in (folder / "pack").glob("*.idx")]
            move_packs(folder, objects)
        for name in names:
            self._ids.add(objects / "pack" / name)
        joined.unlink()

    def _known(self, shas: set[str], *, is_base: bool) -> list[str]:
        """Return which of these are there already; of a base, which are in one of its entries."""
        if is_base:
            return [sha for sha in shas if sha in self._ids]
        asked = "".join(f"{sha}\n" for sha in sorted(shas)).encode()
        told = self._git.run(["cat-file", "--batch-check"], repo=self._place, stdin=asked).decode()
        return [line[:40] for line in told.splitlines() if not line.endswith(" missing")]

    def bundle(self, run: Run, last: Head, keep: KeptLines, made: Path) -> bool:
        """Write the bundle of everything that was taken in; return whether it is thin.

        A segment that would be larger than its parts is made thin, as an entry is: where lines of many large files were
        edited, each of these would be whole in every segment. So at each size no more is written than was at the one
        before.
        """
        outside = sorted(sha for sha in self._needed if sha not in self._ids)
        if run.is_base and outside:
            raise ValueError(f"{outside[0]} is needed, and is in no entry")
        ledger_sha = self._ledger.write_object(keep(self._ledger), self.path / "objects")
        wanted = self.path / "wanted"
        with wanted.open("wb") as file:
            file.writelines(self._wanted(outside))
            file.write(f"{ledger_sha}\n".encode())
        head = encode_joined(outside, last.refs, ledger_sha, b"", last.origin_sha)
        self._write(head, wanted, made, _DELTA_DEPTH)
        if run.is_base or not outside or made.stat().st_size <= self._bytes_taken:
            return False
        thin = made.with_suffix(".thin")
        with wanted.open("rb") as usual, wanted.with_suffix(".thin").open("wb") as file:
            file.writelines(f"-{sha}\n".encode() for sha in outside)  # what deltas may be made from, too
            shutil.copyfileobj(usual, file)
        self._write(head, wanted.with_suffix(".thin"), thin, _THIN_DELTA_DEPTH)
        if thin.stat().st_size >= made.stat().st_size:
            thin.unlink()
            return False
        thin.replace(made)
        return True

    def _wanted(self, outside: Sequence[str]) -> Iterator[bytes]:
        """Yield what goes into the pack, in the order and with the names by which git finds what is like it.

        A ledger is left out, unless somebody has put the same bytes into a file.
        """
        with (self.path / "reached").open("w+b") as reached:
            with self._tips(outside).open("rb") as tips:
                walk = ["rev-list", "--objects", "--topo-order", "--stdin"]
                self._git.run(walk, repo=self._place, stdin=tips, stdout=reached)
            reached.seek(0)
            for line in reached:
                if self._ids.mark(line[:40].decode()):
                    yield line
        left_out = self._ledgers - self._refs
        for sha in self._ids.rest():
            if sha not in left_out:
                yield f"{sha}\n".encode()

    def _tips(self, outside: Sequence[str]) -> Path:
        """Write down what leads to others of them, commits and tags, and where the walk from there ends."""
        path = self.path / "tips"
        reader = Reader(PackDirectory(self.path / "objects", proven=True))
        with path.open("w") as file:
            for sha in self._ids:
                if reader.must(sha)[0] in (Kind.COMMIT, Kind.TAG):
                    file.write(f"{sha}\n")
            for sha in outside:
                file.write(f"^{sha}\n")
        return path

    def _write(self, head: bytes, wanted: Path, made: Path, depth: int) -> None:
        # By name, the base of a delta that another pack has, too, could not be taken in together with it.
        options = [
            "--quiet",
            "--no-reuse-delta",
            "--delta-base-offset",
            f"--depth={depth}",
            f"--window-memory={_WINDOW_MEMORY}",
        ]
        with wanted.open("rb") as asked, made.open("wb", buffering=0) as file:
            file.write(head)
            self._git.run(["pack-objects", *options, "--stdout"], repo=self._place, stdin=asked, stdout=file)


def _index(git: Git, repo: Path, parts: Sequence[Part], joined: Path) -> tuple[str, int, int] | None:
    """Have git take in the packs of parts as one; return its name, and how many objects and bytes were sent."""
    packs = [part.pack for part in parts]
    count = sum(pack.count for pack in packs)
    if not count:
        return None
    path, start = joined, 0
    if len(packs) == 1 and packs[0].is_at_end:
        path, start = packs[0].path, packs[0].start
    else:
        join_in_file(packs, joined)
    size = path.stat().st_size - start
    with path.open("rb") as file:
        file.seek(start)
        name = git.index_pack(repo, file)
    joined.unlink(missing_ok=True)
    return name, count, size


def _make_objects(path: Path, builds_on: Path | None = None) -> Path:
    """Make a place for objects, beside those of another, and return it."""
    for folder in ("objects/pack", "objects/info"):
        (path / folder).mkdir(mode=0o700, parents=True)
    if builds_on is not None:
        (path / "objects/info/alternates").write_text(f"{(builds_on / 'objects').absolute()}\n")
    return path
