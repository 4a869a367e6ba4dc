"""One agent's warm repository: a bare git repository on disk, and in memory what was published since the last flush.

Only published objects get in. New ones wait in memory, because writing a file costs more than the whole commit does;
they go to disk together, as one pack, when there are enough of them or when the git command line has to see them.
Losing the memory, or the whole folder, loses nothing: the journal has it all.

Used by one thread at a time: the agent's own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain
from pathlib import Path

from memrepo.errors import TooLargeError
from memrepo_worker.files.regular import read_regular, regular, remove_folder
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, GitTroubleError, GitUsage
from memrepo_worker.git.compare import (
    Comparison,
    all_lines,
    compare_in_process,
    differing_bytes,
    parse_patch,
)
from memrepo_worker.git.history.commit_graph import CommitGraph
from memrepo_worker.git.history.known import KnownHistories
from memrepo_worker.git.objects import GitObject, Kind, TreeEntry
from memrepo_worker.git.pack_files import remove_others
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.git.packed.recent_files import RecentFiles
from memrepo_worker.git.packed.taking_in import UNPACKED_FOLDER, take_in
from memrepo_worker.git.packs import encode_index, object_count
from memrepo_worker.git.reader import Reader
from memrepo_worker.git.walk import require_history
from memrepo_worker.group import Lease
from memrepo_worker.journal.entry import (
    BRANCHES,
    HEAD_BRANCH,
    Entry,
    EntryDoesNotFollowError,
    JournalDamagedError,
    ledger_bytes_max,
)
from memrepo_worker.journal.ledger import LedgerLine, decode_each
from memrepo_worker.journal.seal import ends_repo
from memrepo_worker.journal.unsound_packs import refuse_unsound_packs
from memrepo_worker.repos.delta_chains import DeltaChains, remember_depths
from memrepo_worker.repos.draft import Ahead, memory_bytes_of
from memrepo_worker.repos.ledger import Ledger
from memrepo_worker.repos.line_counts import LineCounts
from memrepo_worker.repos.pending import FlushLimits, PendingObjects
from memrepo_worker.repos.slots import STATE_FILE, bytes_on_disk
from memrepo_worker.repos.state import RepoState
from memrepo_worker.repos.trust import HarmedMeanwhileError, Trust, WarmRepoDamagedError
from memrepo_worker.threads.giving_way import give_way, pieces

REPACK_FOLDER = "repack"
"""Where packs are joined, below ``objects``."""

_REFUSED_MAX = 32  # so often is less tried than git may take at once
_FLUSH_LIMITS = FlushLimits()
_MEMORY_BYTES_LEAST = 16 * 1024  # what the smallest one takes, libgit2's part included
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n"


class WarmRepo:
    """The local copy of one agent's journal up to ``state.seq``; ``trust`` says how far it is believed."""

    def __init__(self, path: Path, git: Git, state: RepoState, limits: FlushLimits = _FLUSH_LIMITS) -> None:
        self.path = path
        self.state = state
        self.ledger = Ledger(path)
        self.line_counts = LineCounts(path)
        self.git = git
        self._limits = limits
        self.trust = Trust()
        self._pending = PendingObjects()
        self.delta_depths: dict[str, int] = {}
        self.left_to_mark: list[str] = []  # keys, of a delete that is not finished
        self.ahead: Ahead | None = None
        self._disk_bytes: int | None = None
        self._saved: RepoState | None = None
        self.packs = PackDirectory(path / "objects", state.packs)
        self.graph = CommitGraph(path / "objects")
        self._unsaved_entries = 0
        self.recent = RecentFiles(self.packs, waiting=self._pending.objects)
        self.reader = Reader(self.recent)
        self.histories = KnownHistories(self.reader)

    @classmethod
    def empty(cls, path: Path, git: Git, state: RepoState | None = None) -> WarmRepo:
        """Make an empty repository, in place of whatever is at ``path``."""
        remove_folder(path)
        for folder in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
            (path / folder).mkdir(parents=True)
        _write(path / "HEAD", f"ref: {HEAD_BRANCH}\n".encode())
        _write(path / "config", _CONFIG.encode())
        return cls(path, git, state or RepoState())

    @classmethod
    def load(cls, path: Path, git: Git) -> WarmRepo | None:
        """Return the repository that an earlier process left at ``path``, or None when there is no usable one.

        Its state is a claim: hold it against the store before trusting it.
        """
        try:
            state = RepoState.decode(read_regular(path / STATE_FILE))
            ledger = Ledger.load(path, state.ledger)
        except (OSError, ValueError):
            return None
        for folder in (REPACK_FOLDER, UNPACKED_FOLDER):
            remove_folder(path / "objects" / folder)
        remove_others(path / "objects", state.packs)
        repo = cls(path, git, state)
        repo.ledger, repo.trust, repo._saved = ledger, Trust.claimed(), state
        return repo

    def is_current(self, lease: Lease, now_s: float, proof_age_s_max: float = math.inf) -> bool:
        """Whether the state is known to be the newest: proven under this lease, which goes on, and lately enough.

        That there is no repository is never taken as known: an import may begin one beside the workers.
        """
        return self.state.exists and self.trust.is_proven(lease, now_s, proof_age_s_max)

    # What gets in

    def install(
        self,
        seq: int,
        sha256: str,
        objects: Mapping[str, GitObject],
        refs: Mapping[str, str],
        lines: Iterable[LedgerLine],
        chains: DeltaChains | None = None,
        origin_sha: str | None = None,
    ) -> None:
        """Take in one's own entry, after its create succeeded; ``sha256`` is that of its bytes."""
        chains = chains or DeltaChains({})
        self._pending.add(objects, chains)
        remember_depths(self.delta_depths, chains.depths)
        self._unsaved_entries += 1
        settled = list(lines)
        self.ledger.remember(settled)
        seal = seq if ends_repo(refs, settled) else self.state.seal
        self._advance(seq, refs, sha256, seal, origin_sha)

    def begin_from(self, base: Entry, entries: Iterable[Entry] = ()) -> None:
        """Take in the base that a cold open starts from, and the entries that follow on it, as ``absorb`` does.

        A base without branches is a seal's, whatever its ledger still remembers: nothing else without branches is
        ever given a base.
        """
        try:
            self.absorb(chain((base,), entries))
        except JournalDamagedError as error:
            raise (error.within_base() if error.seq == base.seq else error) from error
        if not base.refs:
            self.state = replace(self.state, seal=max(base.seq, self.state.seal))

    def absorb(self, entries: Iterable[Entry]) -> None:
        """Take in entries read from the journal, in order, following on ``state.seq`` (or a base).

        Raises:
            EntryDoesNotFollowError: an entry needs or names an object that neither it nor what came before has.
            JournalDamagedError: it needs one that is not what it should be, or has a pack or ledger that none may have.
            WarmRepoDamagedError: git does not take the objects.
            GitOverBoundsError: git would need more than a worker may give it, for one of them alone.
            GitTroubleError, OSError: the machine does not; see ``service.handler``.
        """
        left, usage = [[*entries]], self.git.usage or GitUsage()
        while left and (some := left.pop()):
            try:
                self._index(some)
            except GitOverBoundsError:
                usage.refused += 1
                if len(some) == 1 or usage.refused > _REFUSED_MAX:
                    raise
                middle = len(some) // 2
                left += some[middle:], some[:middle]
            else:
                some = [entry.without_pack() for entry in some]  # their ledgers may be as large
                self._follow(some)

    def _follow(self, entries: Sequence[Entry]) -> None:
        """Be at the last of these entries, whose objects git has taken in; raises what ``absorb`` does."""
        seal, settled = self.state.seal, []
        is_new = self.state.seq == 0  # nobody keeps one that is new and fails
        for entry in entries:
            give_way()
            for sha in entry.prerequisites:
                self._require(sha, entry.seq, Kind.COMMIT)
            lines: Iterable[LedgerLine] = self._lines_of(entry)
            if not (is_new and entry.refs):
                lines = [*lines]
                seal = entry.seq if ends_repo(entry.refs, lines) else seal
            self.ledger.remember(lines) if is_new else settled.append(lines)
        last = entries[-1]
        for name, sha in last.refs.items():
            self._require(sha, last.seq, Kind.COMMIT if name.startswith(BRANCHES) else None)
        if last.origin_sha is not None:
            self._require(last.origin_sha, last.seq, Kind.BLOB)
        self.ledger.remember(line for lines in settled for line in lines)
        self._advance(last.seq, last.refs, last.sha256, seal, last.origin_sha)

    def _advance(self, seq: int, refs: Mapping[str, str], sha256: str, seal: int, origin: str | None) -> None:
        self.state = replace(
            self.state, seq=seq, refs=dict(refs), tip_sha256=sha256, seal=seal, origin_sha=origin
        )

    def _index(self, entries: Sequence[Entry]) -> None:
        """Have git take in the objects of these entries."""
        packs = [entry.pack for entry in entries]
        if not any(map(object_count, packs)):
            return
        self._write_pack()
        try:
            made = take_in(self.git, self.path, packs)
        except GitTroubleError:
            raise
        except GitOverBoundsError as error:
            refuse_unsound_packs(entries, self.git.caps)
            raise GitOverBoundsError(
                "git may not take more memory or time: MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX and "
                "MEMREPO_FOREIGN_CPU_S_MAX allow for more"
            ) from error
        except GitError as error:
            refuse_unsound_packs(entries, self.git.caps, error)
            raise WarmRepoDamagedError(f"{self.path.name}: {error}") from error
        self.packs.refresh()
        if not self.packs.files.keys() >= {f"pack-{checksum}" for checksum in made}:
            raise HarmedMeanwhileError(f"{self.path.name}: a pack is gone that git has just made")
        self._disk_bytes = None

    def _require(self, sha: str, seq: int, kind: Kind | None) -> int:
        """Return the size of an object that an entry needs, of that kind if one is given."""
        header = self.reader.maybe(sha)
        if header is None:
            raise EntryDoesNotFollowError(f"entry {seq} needs {sha}, which nothing before it has", seq)
        if kind is not None and header[0] is not kind:
            raise JournalDamagedError(f"entry {seq} needs {sha} as a {kind.word}, and it is none", seq)
        return header[1]

    def _lines_of(self, entry: Entry) -> Iterator[LedgerLine]:
        size = self._require(entry.ledger_sha, entry.seq, Kind.BLOB)
        if size > ledger_bytes_max(entry.size):
            raise JournalDamagedError(f"entry {entry.seq} has a ledger of {size} bytes", entry.seq)
        try:
            yield from self.ledger.following(decode_each(BytesIO(self.reader.blob(entry.ledger_sha))))
        except ValueError as error:
            raise JournalDamagedError(f"entry {entry.seq}: {error}", entry.seq) from error

    # What goes to disk

    @property
    def needs_cleaning(self) -> bool:
        """Whether the repository was deleted, and nobody here has seen the store clean since."""
        return not self.state.exists and self.state.seal != self.trust.clean_seal

    @property
    def is_full(self) -> bool:
        """Whether enough was taken in since the last ``save`` to be worth one."""
        limits = self._limits
        bytes_max = limits.bytes_max if self.packs.files else limits.first_bytes_max
        return self.is_overfull or self._pending.unsaved_bytes >= bytes_max

    @property
    def is_overfull(self) -> bool:
        """Whether that has come to as much as may wait at all, also for a better moment."""
        limits = self._limits
        return self._unsaved_entries >= limits.entries_max or self._pending.bytes >= limits.memory_bytes_max

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes: what waits to be written, what is kept decoded, its ledger and counts."""
        read = (self.reader, self.packs, self.recent, self.histories)
        kept = (*read, self.ledger, self.line_counts, self._pending)
        return sum((each.memory_bytes for each in kept), _MEMORY_BYTES_LEAST + memory_bytes_of(self.ahead))

    @property
    def disk_bytes(self) -> int:
        """What its files take of the disk; they are looked at where they have changed since."""
        if self._disk_bytes is None:
            self._disk_bytes = bytes_on_disk(self.path.parent)
        return self._disk_bytes

    def save(self) -> None:
        """Write what waits in memory, and the state, so that git's command line and a later process see all.

        Raises:
            OSError, WarmRepoDamagedError: the disk does not take it, or not what was there; what is there is of no use
                any more.
        """
        self.line_counts.save()
        self._disk_bytes = None
        if self.state is self._saved:
            return
        self._write_pack()
        lines = [f"{sha} {name}\n" for name, sha in sorted(self.state.refs.items())]
        _replace(self.path / "packed-refs", ("# pack-refs with: sorted \n" + "".join(lines)).encode())
        self.state = replace(self.state, packs=self.packs.files, ledger=self.ledger.save())
        _replace(self.path / STATE_FILE, self.state.encode())
        self.ledger.tidy()
        self._saved = self.state
        self._unsaved_entries = self._pending.unsaved_bytes = 0

    def save_anew(self) -> None:
        """Write the state also where only its packs have changed; raises what ``save`` does."""
        self._saved = None
        self.save()

    def measure_again(self) -> None:
        """Look at the files again: another than this has added some."""
        self._disk_bytes = None

    @property
    def on_disk(self) -> RepoState:
        """The newest state that is known of which every object is on disk."""
        return (self._saved or RepoState()) if self._pending.objects else self.state

    def _write_pack(self) -> None:
        """Write what waits in memory as one pack, so that git's command line sees it. The batch goes on."""
        if self._pending.objects:
            pack = self._pending.pack()
            stem = self.path / "objects" / "pack" / f"pack-{pack.checksum}"
            _replace(stem.with_suffix(".pack"), pack.data)
            # The index makes the pack visible, so it comes second.
            _replace(stem.with_suffix(".idx"), encode_index(pack))
            self.packs.refresh()
            self.recent.keep(self._pending.objects)
            self._pending.clear()
            self._disk_bytes = None

    def compare(self, old: TreeEntry | None, new: TreeEntry | None, *, patch: bool = True) -> Comparison:
        """Compare two states of a file; None stands for "no file".

        Large contents are compared by a process, since the comparison may take time that grows with the square of what
        differs; over a bound all old lines count as removed, all new ones as added. Without ``patch`` it may have none.
        """
        found = compare_in_process(self.reader, old, new, patch=patch)
        if isinstance(found, Comparison):
            return found
        if not self.git.may_compare(differing_bytes(found.before, found.after)):
            return all_lines(found.before, found.after)
        try:
            self._write_pack()
            return parse_patch(self.git.diff_of_blobs(self.path, found.old_sha, found.new_sha))
        except GitOverBoundsError:
            return all_lines(found.before, found.after, lasting=False)
        except GitTroubleError:
            raise
        except GitError as error:
            raise WarmRepoDamagedError(f"{self.path.name}: {error}") from error

    def commits_touching(self, start: str, path: str, count_max: int | None = None) -> Sequence[str]:
        """Return the commits reachable from ``start`` that changed a file, the newest so many, as git's log has them.

        Raises:
            TooLargeError: git would need more than it may take.
            ObjectAbsentError: no pack has a commit or folder on the way.
        """
        known = self.histories.find(start, path, count_max)
        if known is not None:
            return known
        self._write_pack()
        try:
            found = self.git.commits_touching(self.graph.place, start, path, count_max)
            self.histories.keep(start, path, count_max, found)
            return found
        except GitTroubleError:
            raise
        except GitOverBoundsError as error:
            raise TooLargeError.of(
                "path",
                "git may not look through this history for it in the time and memory that it may take: ask without a "
                "path, or raise MEMREPO_FOREIGN_CPU_S_MAX and MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX at the workers",
            ) from error
        except GitError as error:
            require_history(self.reader, start, path)
            raise WarmRepoDamagedError(f"{self.path.name}: {error}") from error


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole: to a neighbour, to disk, then in its place."""
    temporary = path.with_name(f".{path.name}.new")
    _write(temporary, data)
    temporary.replace(path)


def _write(path: Path, data: bytes) -> None:
    """Write a file that nobody else may read."""
    with os.fdopen(regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        for piece in pieces(data):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
