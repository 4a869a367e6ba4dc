"""Which memories a store holds, and how large each is: by listing alone, a page at a time, however many there are."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from random import Random

from memrepo.clock import Backoff
from memrepo.errors import InvalidRequestError
from memrepo.validation.values import check_id
from memrepo_worker.group import Agent
from memrepo_worker.inspection.foreign import Foreign
from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout, is_stray
from memrepo_worker.journal.runs import runs_of, to_make
from memrepo_worker.store.identity import IDENTITY_KEY
from memrepo_worker.store.interface import ListedObject, Store, UnavailableError
from memrepo_worker.store.probe import PREFIX as PROBE_PREFIX
from memrepo_worker.store.unnamed import UnnamedFile, list_all

_BREAKS_MAX = 4
"""How often in a row a listing may break before it has shown one more memory."""

_BACKOFF = Backoff(first_s=0.2, max_s=5.0, jitter=0.5)


@dataclass(slots=True)
class Size:
    """How much there is of something; ``bytes`` of all of it.

    ``entries`` are those with content. ``reservations`` are those of folders that are at work, or never came to their
    end; ``indexes`` lie beside bases and segments; ``old_files`` are of a Letta server's layout, and ``foreign`` what
    memrepo does not know, or has a number that none can have. ``foldable`` is how many entries a fold would join that
    nothing stands for yet: a gap ends them.
    """

    entries: int = 0
    markers: int = 0
    segments: int = 0
    bases: int = 0
    reservations: int = 0
    indexes: int = 0
    old_files: int = 0
    foreign: int = 0
    bytes: int = 0
    foldable: int = 0

    def add(self, other: Size) -> None:
        """Add another to this one."""
        self.entries += other.entries
        self.markers += other.markers
        self.segments += other.segments
        self.bases += other.bases
        self.reservations += other.reservations
        self.indexes += other.indexes
        self.old_files += other.old_files
        self.foreign += other.foreign
        self.bytes += other.bytes
        self.foldable += other.foldable


@dataclass(frozen=True, slots=True)
class ListedMemory:
    """One agent's objects, as a listing shows them; a deleted memory is one, too."""

    agent: Agent
    size: Size
    has_runs_to_make: bool = False
    """Whether a fold would make a base or segment."""
    foreign: Foreign = field(default_factory=Foreign)
    """What lies there that memrepo does not know."""
    has_strays: bool = False
    """Whether there is what is named like a part of a journal, and cannot be one."""

    @property
    def has_journal(self) -> bool:
        """Whether it is more than old files of another server."""
        size = self.size
        parts = size.entries + size.markers + size.bases + size.segments + size.reservations
        return parts > 0 or self.has_strays


class NotListedError(Exception):
    """The memory after which to go on is not in the store."""


@dataclass(frozen=True)
class Memories:
    """The memories of one store, in the order in which it lists them: agent by agent, an org's together.

    ``store`` yields listings as they come. One that breaks is begun anew, after the last memory that it has shown.
    """

    store: Store
    random: Random = field(default_factory=Random)
    sleep: Callable[[float], None] = time.sleep

    def listed(
        self,
        org_id: str = "",
        agent_id: str = "",
        after: Agent | None = None,
        on_outside: Callable[[ListedObject], None] = lambda _: None,
    ) -> Iterator[ListedMemory]:
        """Yield all, or those of an org, or the one of an agent; with ``after`` those that come after that one.

        ``on_outside`` is told of each object that is under no agent's prefix and is none of the store's own either.

        Raises:
            NotListedError: there is none of that name.
            UnavailableError, RefusedError: the store does not list them.
        """
        prefix = Layout.of(org_id, agent_id).prefix if agent_id else Layout.of_org(org_id) if org_id else ""
        breaks, told = 0, ""

        def tell(item: ListedObject) -> None:
            nonlocal told
            if item.key > told:  # a listing that is begun anew shows it again
                on_outside(item)
                told = item.key

        while True:
            try:
                for memory in self._after(prefix, after, tell):
                    yield memory
                    after, breaks = memory.agent, 0
                return
            except UnavailableError:
                breaks += 1
                if breaks >= _BREAKS_MAX:
                    raise
                self.sleep(_BACKOFF.pause_s(breaks, self.random))

    def _after(
        self, prefix: str, after: Agent | None, on_outside: Callable[[ListedObject], None]
    ) -> Iterator[ListedMemory]:
        memories = groupby(list_all(self.store, prefix), lambda item: _agent_of(item.key))
        if after is not None and all(agent != after for agent, _ in memories):  # goes on after that one
            raise NotListedError(f"{after} is not in {self.store.name}")
        for agent, objects in memories:
            if agent is not None:
                yield _listed(agent, objects)
                continue
            for item in objects:
                if item.key != IDENTITY_KEY and not item.key.startswith(PROBE_PREFIX):
                    on_outside(item)


def _listed(agent: Agent, objects: Iterable[ListedObject]) -> ListedMemory:
    layout = Layout.of(agent.org_id, agent.agent_id)
    size, foreign, numbers = Size(), Foreign(), _Numbers()
    joined: list[ListedObject] = []
    for item in objects:
        size.bytes += item.size
        if isinstance(item, UnnamedFile):
            foreign.add(item)
            continue
        seq = layout.entry_seq(item.key)
        if seq is not None and numbers.take(seq):
            size.entries += item.size > 0
            size.markers += item.size == 0
        elif seq is not None or layout.is_unknown(item.key):
            foreign.add(item)
        elif layout.is_foreign(item.key):
            size.old_files += 1
        elif layout.is_index(item.key):
            size.indexes += 1
        elif item.size < CONTENT_BYTES_MIN:
            size.reservations += 1
        else:
            joined.append(item)
    real: list[ListedObject] = []
    for item in joined:
        is_real = _stands_for_entries(layout, item, numbers.last)
        (real.append if is_real else foreign.add)(item)
    there = Accelerators.of(layout, real)
    size.bases, size.segments, size.foreign = len(there.bases), len(there.segments), foreign.count
    # A fold ends at a gap; what is wrong there is for ``memrepo store verify`` to say.
    end = max((run.last for run in runs_of(numbers.whole_until(there.end))), default=0)
    size.foldable = max(0, end - there.end)
    has_runs_to_make = bool(to_make(numbers.last, 0, there.base, there.segments))
    return ListedMemory(agent, size, has_runs_to_make, foreign, numbers.has_strays or len(real) < len(joined))


class _Numbers:
    """The numbers of a journal's entries, in order; of each gap 8 bytes are kept."""

    def __init__(self) -> None:
        self.last = 0
        self.has_strays = False
        self._before_gaps = array("Q")

    def take(self, seq: int) -> bool:
        """Take the next number in; return False for one that no entry of this journal can have."""
        if is_stray(seq, self.last + 1):
            self.has_strays = True
            return False
        if seq > self.last + 1:
            self._before_gaps.append(self.last)
        self.last = seq
        return True

    def whole_until(self, end: int) -> int:
        """Return the last number before the first gap that comes after entry ``end``."""
        place = bisect_left(self._before_gaps, end)
        return self._before_gaps[place] if place < len(self._before_gaps) else self.last


def _stands_for_entries(layout: Layout, joined: ListedObject, newest: int) -> bool:
    """Whether a base or segment stands for entries that there can be; some may have come after these were listed."""
    base, segment = layout.base_seq(joined.key), layout.segment_seqs(joined.key)
    first, last = segment or (1, base or 0)
    return 0 < first <= last and not is_stray(max(last, newest + 1), newest + 1)


def _agent_of(key: str) -> Agent | None:
    """Return whose object it is; None: nobody's whom a request could name."""
    ids = Layout.ids_of(key)
    try:
        return Agent(check_id(ids[0], "ORG"), check_id(ids[1], "AGENT")) if ids else None
    except InvalidRequestError:
        return None
