"""Deleting a repository: what follows its seal.

The seal itself is an entry without branches whose ledger names the delete request; from its create on the
repository is gone. Cleaning then frees the bytes. It can be done twice, by several, and be taken up by whoever meets
it unfinished: every step only writes what any other cleaner of that seal would write, and never touches a key above
the seal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from time import thread_time

from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.journal.ledger import DELETED, LedgerLine
from memrepo_worker.store.interface import ALWAYS, ListedObject, NotThereError, Store, UnavailableError

MARKERS_A_TURN = 16
"""How many markers are written before other agents have their turns: some hundredths of a second."""

_SIDE_BY_SIDE = 4
"""More are no quicker where the store is near: what a request takes of a worker is its interpreter's lock."""

_MARKER = b""

_LOOKS_MAX = 10
"""How often is listed what there is until nothing is left to be removed: three times, if nobody writes meanwhile."""

_KEYS_MAX = 100_000
"""How many keys of one kind are remembered at once: some megabytes. What is beyond is listed anew, after these."""


class CleaningUnfinishedError(Exception):
    """As many markers were written as one turn may; the next call goes on with those that are left.

    ``cpu_s`` is what these took of a core: who calls again at once keeps it from others.
    """

    def __init__(self, left: int, cpu_s: float) -> None:
        super().__init__(f"the delete goes on: {left} entries are left to be freed")
        self.cpu_s = cpu_s


def ends_repo(refs: Mapping[str, str], lines: Iterable[LedgerLine]) -> bool:
    """Whether an entry (or a base) is a seal: it lists no branch, and its ledger names a delete."""
    return not refs and any(line.verdict == DELETED for line in lines)


def clean(
    store: Store,
    layout: Layout,
    seal: int,
    lines: Iterable[LedgerLine],
    executor: Executor,
    markers_max: int | None = None,
    left: list[str] | None = None,
) -> None:
    """Write the seal's base, replace the entries below by markers, remove what else is below; until a list shows it.

    Files of another server's layout go first, until none is listed; then the base is written. From then on nothing of
    that kind is removed any more: it came after the delete. The base carries the ledger on, so that an opener starts
    after the seal, and numbers go on. Markers keep numbers taken: a paused writer that believes one to be free must go
    on losing. What is below is listed after the base is there, reservations too: see ``journal.fence``.

    With ``markers_max`` it ends after so many markers; each stays written. What is ``left`` is remembered for the next
    call, which then lists nothing before all of that is written; at the end everything is listed all the same.

    Raises:
        CleaningUnfinishedError: call again, as that was not all.
        UnavailableError, RefusedError: call again; the delete may be acknowledged only after this returned. So where
            there is always something left to be removed: a thread must not look for ever.
    """
    left = [] if left is None else left
    if left:
        _mark(store, left, executor, markers_max)
    looks, before = 0, math.inf
    while looks < _LOOKS_MAX:
        found = _Below.listed(store.list(layout.prefix), layout, seal)
        # Where less is left by as much as one look may take, that there is more says nothing of who writes meanwhile.
        if found.count + _KEYS_MAX > before:
            looks += 1
        before = found.count
        if not found.has_base and found.foreign:
            store.delete(found.foreign)
            continue
        if not found.has_base:
            _put_base(store, layout, seal, lines)
        left[:] = reversed(found.unmarked)
        if left:
            _mark(store, left, executor, markers_max)
        if found.doomed:
            store.delete(found.doomed)
        if found.has_base and not found.unmarked and not found.doomed:
            return
    raise UnavailableError(f"{layout.prefix} does not hold still while what was deleted is removed")


def require_base(store: Store, layout: Layout, seal: int, lines: Iterable[LedgerLine]) -> bool:
    """Write the base of a seal that was cleaned where it was lost since; return whether it had to be.

    Below it are markers alone: nobody opens what begins above it without that base. Its ``lines`` are those of whoever
    has the state at the seal, or one after it: what follows on the delete's own line is left out.

    Raises:
        UnavailableError, RefusedError: call again; nothing may be begun before this returned.
    """
    try:
        if store.get_range(layout.base(seal), 0, 1).size >= CONTENT_BYTES_MIN:
            return False
    except NotThereError:
        pass
    _put_base(store, layout, seal, lines)
    return True


def _put_base(store: Store, layout: Layout, seal: int, lines: Iterable[LedgerLine]) -> None:
    """Write a seal's base, with the lines up to the newest delete's: those after it are in entries above the seal.

    An opener takes those entries in after the base, and one whose lines are known already for a copy.
    """
    deletes = [number for number, line in enumerate(lines, start=1) if line.verdict == DELETED]
    until_delete = islice(lines, deletes[-1]) if deletes else lines
    store.put(layout.base(seal), encode_entry({}, {}, (), until_delete), ALWAYS)


@dataclass
class _Below:
    """What is to be done below a seal, by a listing: up to ``_KEYS_MAX`` keys of each kind, of ``count`` in all."""

    has_base: bool = False
    count: int = 0
    foreign: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    doomed: list[str] = field(default_factory=list)

    @classmethod
    def listed(cls, listed: Iterable[ListedObject], layout: Layout, seal: int) -> _Below:
        found, base = cls(), layout.base(seal)
        for item in listed:
            if item.key == base and item.size >= CONTENT_BYTES_MIN:
                found.has_base = True
            elif layout.is_foreign(item.key):
                found._add(found.foreign, item.key)
            elif _needs_marker(layout, item, seal):
                found._add(found.unmarked, item.key)
            elif _is_doomed(layout, item, seal):
                found._add(found.doomed, item.key)
        return found

    def _add(self, keys: list[str], key: str) -> None:
        self.count += 1
        if len(keys) < _KEYS_MAX:
            keys.append(key)


def _mark(store: Store, left: list[str], executor: Executor, markers_max: int | None) -> None:
    """Put markers at the last of these keys, which are taken out of the list, until it is empty.

    Raises:
        CleaningUnfinishedError: so many were written.
    """

    def mark(key: str) -> float:
        began_s = thread_time()
        store.put(key, _MARKER, ALWAYS)
        return thread_time() - began_s

    room, cpu_s = len(left) if markers_max is None else markers_max, 0.0
    while left:
        if not room:
            raise CleaningUnfinishedError(len(left), cpu_s)
        number = min(_SIDE_BY_SIDE, len(left), room)
        cpu_s += sum(executor.map(mark, left[-number:]))
        del left[-number:]
        room -= number


def _needs_marker(layout: Layout, item: ListedObject, seal: int) -> bool:
    seq = layout.entry_seq(item.key)
    return seq is not None and seq < seal and item.size > 0


def _is_doomed(layout: Layout, item: ListedObject, seal: int) -> bool:
    last = layout.accelerator_seq(item.key)
    return last is not None and last < seal
