"""Which memories a store holds, and how large each is: by listing alone, a page at a time, however many there are."""

from __future__ import annotations

import time
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
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, SEQ_MAX, Layout
from memrepo_worker.journal.runs import runs_of, to_make
from memrepo_worker.store.identity import IDENTITY_KEY
from memrepo_worker.store.interface import ListedObject, Store, UnavailableError
from memrepo_worker.store.probe import PREFIX as PROBE_PREFIX

_BREAKS_MAX = 4
"""How often in a row a listing may break before it has shown one more memory."""

_BACKOFF = Backoff(first_s=0.2, max_s=5.0, jitter=0.5)


@dataclass(slots=True)
class Size:
    """How much there is of something; ``bytes`` of all of it.

    ``entries`` are those with content. ``reservations`` are those of folders that are at work, or never came to their
    end; ``indexes`` lie beside bases and segments; ``old_files`` are of a Letta server's layout, and ``foreign`` what
    memrepo does not know. ``foldable`` is how many entries a fold would join that nothing stands for yet.
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

    @property
    def has_journal(self) -> bool:
        """Whether it is more than old files of another server."""
        size = self.size
        return bool(size.entries or size.markers or size.bases or size.segments or size.reservations)


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
        memories = groupby(self.store.list(prefix), lambda item: _agent_of(item.key))
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
    size, foreign = Size(), Foreign()
    newest = 0
    joined: list[ListedObject] = []
    for item in objects:
        size.bytes += item.size
        seq = layout.entry_seq(item.key)
        if seq is not None:
            newest = max(newest, seq)
            size.entries += item.size > 0
            size.markers += item.size == 0
        elif layout.is_unknown(item.key):
            foreign.add(item)
        elif layout.is_foreign(item.key):
            size.old_files += 1
        elif layout.is_index(item.key):
            size.indexes += 1
        elif item.size < CONTENT_BYTES_MIN:
            size.reservations += 1
        else:
            size.bases += layout.base_seq(item.key) is not None
            size.segments += layout.segment_seqs(item.key) is not None
            joined.append(item)
    size.foreign = foreign.count
    try:
        there = Accelerators.of(layout, joined)
    except JournalDamagedError:
        return ListedMemory(
            agent, size, foreign=foreign
        )  # what is wrong is for ``memrepo store verify`` to say
    if newest > SEQ_MAX:
        return ListedMemory(agent, size, foreign=foreign)
    size.foldable = max(0, max((run.last for run in runs_of(newest)), default=0) - there.end)
    return ListedMemory(agent, size, bool(to_make(newest, 0, there.base, there.segments)), foreign)


def _agent_of(key: str) -> Agent | None:
    """Return whose object it is; None: nobody's whom a request could name."""
    ids = Layout.ids_of(key)
    try:
        return Agent(check_id(ids[0], "ORG"), check_id(ids[1], "AGENT")) if ids else None
    except InvalidRequestError:
        return None
