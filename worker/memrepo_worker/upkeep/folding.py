"""Folding a journal: runs of its entries are joined into bases and segments, so that opening it stays quick with age.

The entries stay. What is made stands beside them and is verified before; it may be lost, made twice, or be made by
several at once, and nothing is lost or wrong. Killed at any moment, it leaves at most a reservation, which the next one
takes over, and files in the scratch folder, which the next one removes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from memrepo.clock import Clock
from memrepo.errors import RepoNotFoundError
from memrepo.limits import HORIZON_S
from memrepo_worker.git.command import Git, GitError, GitOverBoundsError, GitTroubleError
from memrepo_worker.group import Agent
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import JournalDamagedError, JournalUnreadableError
from memrepo_worker.journal.fence import FreshBytes, Publication, publish
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.journal.ledger import lines_to_keep
from memrepo_worker.journal.reading.parts import list_accelerators
from memrepo_worker.journal.runs import Run, to_make
from memrepo_worker.store.interface import NotThereError, ObjectTooLargeError, Store
from memrepo_worker.upkeep.joining import Joiner, KeptLines, Lines
from memrepo_worker.upkeep.part_files import read_head
from memrepo_worker.upkeep.parts import Parts
from memrepo_worker.upkeep.scratch import scratch_folder

_REMOVED_AT_ONCE = 1000


@dataclass(frozen=True)
class Folding:
    """What came of folding one agent's journal.

    ``entries`` is how many it has, ``folded`` how many of them lie in a base or segment now; ``made`` names the objects
    that were written, ``bytes_written`` says how much that was, and ``removed`` how many went that they stand for.
    """

    entries: int
    folded: int
    made: tuple[str, ...]
    bytes_written: int
    removed: int


@dataclass(frozen=True)
class Known:
    """What spares a folder requests: the agent's warm repository, and bytes of entries that are in the store.

    ``link_warm`` links the packs of the warm repository into a place, so that they are there whatever becomes of it; it
    returns False where there is none. Nothing of it gets into what is made but what deltas rest on, and git names each
    object by its bytes.
    """

    link_warm: Callable[[Path], bool] = lambda _: False
    recent: Callable[[int], bytes | None] = lambda _: None


_NOTHING_KNOWN = Known()


@dataclass(frozen=True)
class Folder:
    """Folds journals of one store. ``scratch`` is a folder for what it works on.

    A run whose parts are larger than an entry may be is left in smaller ones. ``bytes_max`` is how many bytes may be
    read to verify what is made, where no warm repository is of use. ``opens_within_s`` is how much processor time git
    may take to read what is made: what a worker has that opens it. How long that takes beside all else says nothing.
    It takes some 50 MiB of memory at most, for 400,000 objects, and on disk about four times the bytes of the largest
    run, or 512 MiB for what git does not take in together.
    """

    store: Store
    git: Git
    executor: Executor
    clock: Clock
    fresh_bytes: FreshBytes
    scratch: Path
    horizon_s: float = HORIZON_S
    bytes_max: float = math.inf
    opens_within_s: float = Git.timeout_s

    def fold(
        self, agent: Agent, tell: Callable[[str], None] = lambda _: None, known: Known = _NOTHING_KNOWN
    ) -> Folding:
        """Make what runs of an agent's journal are not there yet, in order; done again, it makes nothing.

        ``tell`` hears of each object that was made. With a warm repository only the entries of what is made are read,
        else, or where that one is of no use, the whole memory.

        Raises:
            RepoNotFoundError: there is no memory.
            JournalDamagedError, NewerJournalError: the journal cannot be read, or does not make a whole.
            UnavailableError, RefusedError: call again; what was made stays.
            GitTroubleError, GitOverBoundsError, OSError: the machine, or the bounds for git, do not let it; also
                where no worker of these bounds could open what would be made.
        """
        linked: list[bool] = []

        def link_warm(place: Path) -> bool:
            linked.append(known.link_warm(place))
            return linked[-1]

        try:
            return self._fold(agent, tell, replace(known, link_warm=link_warm))
        except (GitTroubleError, GitOverBoundsError):
            raise
        except (JournalDamagedError, GitError):
            if not any(linked):
                raise  # all that it needs was read from the store
            return self._fold(agent, tell, _NOTHING_KNOWN)

    def _fold(self, agent: Agent, tell: Callable[[str], None], known: Known) -> Folding:
        layout = Layout.of(agent.org_id, agent.agent_id)
        made: list[str] = []
        written = 0
        with scratch_folder(self.scratch) as folder:
            bytes_max = self.git.caps.entry_bytes_max
            parts = Parts(self.store, layout, self.executor, bytes_max, folder, known.recent)
            if not parts.newest or not parts.head(parts.newest).refs:
                why = ": it was deleted, or never begun" if parts.newest else ""
                raise RepoNotFoundError(
                    f"{agent} has no memory{why}", {"org_id": agent.org_id, "agent_id": agent.agent_id}
                )
            there = parts.there
            wanted = to_make(
                parts.newest,
                _without_refs(parts),
                there.base,
                there.segments,
                lambda run: parts.weight(run) > bytes_max,
            )
            for run, path in self._joined(wanted, parts, known.link_warm, folder):
                key = layout.base(run.last) if run.is_base else layout.segment(run.first, run.last)
                outcome = publish(self.store, layout, key, path, self.fresh_bytes)
                if outcome is Publication.SUPERSEDED:
                    break  # folded further by another, or deleted
                if outcome is Publication.DONE:
                    made.append(key)
                    written += path.stat().st_size
                    tell(key)
                path.unlink()
        removed = self._remove_superseded(layout)
        there = list_accelerators(self.store, layout)
        return Folding(parts.newest, there.end, tuple(made), written, removed)

    def _joined(
        self, wanted: Sequence[Run], parts: Parts, link_warm: Callable[[Path], bool], folder: Path
    ) -> Iterator[tuple[Run, Path]]:
        """Yield a file with what stands for each run, verified on top of what it builds on."""
        if not wanted:
            return
        warm = folder / "warm.git"
        is_warm = link_warm(warm)
        if not is_warm and parts.weight(Run(1, parts.newest, is_base=True)) > self.bytes_max:
            raise GitOverBoundsError("the memory is too large to be read beside requests")
        git = replace(self.git, timeout_s=max(self.git.timeout_s, self.git.caps.cpu_s_max))
        cpu_s_max = min(git.caps.cpu_s_max, math.ceil(self.opens_within_s))
        workers_git = replace(git, bounds=replace(git.caps.bounds, cpu_s_max=cpu_s_max))
        joiner = Joiner(git, workers_git, folder, warm if is_warm else None)
        end = 0
        for run in wanted:
            if not run.is_base and joiner.takes:
                if not end and (base := parts.base()) is not None:
                    joiner.take(base)
                    end = base.head.seq
                for part in chain.from_iterable(parts.between(end, run.first - 1)):
                    joiner.take(part)
            yield run, _join(run, parts, joiner, self._keep_lines if run.is_base else _all)
            end = run.last

    def _keep_lines(self, lines: Lines) -> Lines:
        return lines_to_keep(lines, self.clock(), self.horizon_s)

    def _remove_superseded(self, layout: Layout) -> int:
        """Remove what newer objects stand for, reservations too; a seal's base stays, as nothing else is below it."""
        there = list_accelerators(self.store, layout)
        removed = 0
        doomed = self._superseded(layout, there)
        while keys := [*islice(doomed, _REMOVED_AT_ONCE)]:
            self.store.delete(keys)
            removed += len(keys)
        return removed

    def _superseded(self, layout: Layout, there: Accelerators) -> Iterator[str]:
        yield from there.superseded(layout, self.store.list(layout.segments))
        for item in self.store.list(layout.bases):
            seq = layout.base_seq(item.key)
            if seq is not None and seq < there.base and not self._is_a_seals(item.key, seq, item.size):
                yield item.key

    def _is_a_seals(self, key: str, seq: int, size: int) -> bool:
        """Whether a base that lies below the newest is what a delete left; in doubt it is."""
        if size < CONTENT_BYTES_MIN:
            return False
        try:
            return not read_head(self.store, key, seq, self.git.caps.entry_bytes_max).refs
        except NotThereError:
            return False
        except (ObjectTooLargeError, JournalUnreadableError):
            return True


def _join(run: Run, parts: Parts, joiner: Joiner, keep: KeptLines) -> Path:
    """Return what stands for a run; what others joined is not relied on where it makes no whole."""
    last = parts.head(run.last)
    base = parts.base() if run.is_base else None
    begin, first = ([[base]], base.head.seq) if base is not None else ([], run.first - 1)
    try:
        return joiner.join(run, chain(begin, parts.between(first, run.last)), last, keep)
    except JournalDamagedError:
        if not parts.there.segments:
            raise
        return joiner.join(run, chain(begin, parts.between(first, run.last, joined=False)), last, keep)


def _without_refs(parts: Parts) -> int:
    """Return the last entry after which there was no repository: a seal, and what followed on it until one began.

    That may be very many entries, of all that was asked of a memory that was deleted: it is found by halving. Of one
    that was not deleted the first has refs, and no other is looked at.
    """
    seq = parts.there.base
    if seq and parts.head(seq).refs:
        return 0  # before it, and so before all that is to be made
    if parts.head(seq + 1).refs:
        return seq
    later = range(seq + 1, parts.newest)  # the newest has some
    return seq + bisect_left(later, 1, key=lambda each: int(bool(parts.head(each).refs)))


def _all(lines: Lines) -> Lines:
    return lines
