"""Deleting a repository: what follows its seal.

The seal itself is an entry without branches whose ledger names the delete request; from its create on the
repository is gone. Cleaning then frees the bytes. It can be done twice, by several, and be taken up by whoever meets
it unfinished: every step only writes what any other cleaner of that seal would write, and never touches a key above
the seal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor

from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.journal.ledger import DELETED, LedgerLine
from memrepo_worker.store.interface import ALWAYS, ListedObject, Store

MARKERS_A_TURN = 500
"""How many markers are written before other agents have their turns: a second or two of a slow store."""

_MARKER = b""


class CleaningUnfinishedError(Exception):
    """As many markers were written as one turn may; the next call goes on with those that are ``left``."""

    def __init__(self, left: int) -> None:
        super().__init__(f"the delete goes on: {left} entries are left to be freed")
        self.left = left


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
) -> None:
    """Write the seal's base, replace the entries below by markers, remove what else is below; until a list shows it.

    Files of another server's layout go first, until none is listed; then the base is written. From then on nothing of
    that kind is removed any more: it came after the delete. The base carries the ledger on, so that an opener starts
    after the seal, and numbers go on. Markers keep numbers taken: a paused writer that believes one to be free must go
    on losing. What is below is listed after the base is there, reservations too: see ``journal.fence``.

    With ``markers_max`` it ends after so many markers, which are written side by side; each stays written.

    Raises:
        CleaningUnfinishedError: call again, as that was not all.
        UnavailableError, RefusedError: call again; the delete may be acknowledged only after this returned.
    """
    base = layout.base(seal)
    while True:
        listed = list(store.list(layout.prefix))
        done = True
        if all(item.key != base or item.size < CONTENT_BYTES_MIN for item in listed):
            foreign = [item.key for item in listed if layout.is_foreign(item.key)]
            if foreign:
                store.delete(foreign)
                continue
            store.put(base, encode_entry({}, {}, (), lines), ALWAYS)
            done = False
        marked = [item.key for item in listed if _needs_marker(layout, item, seal)]
        for _ in executor.map(lambda key: store.put(key, _MARKER, ALWAYS), marked[:markers_max]):
            done = False
        if markers_max is not None and len(marked) > markers_max:
            raise CleaningUnfinishedError(len(marked) - markers_max)
        doomed = [item.key for item in listed if _is_doomed(layout, item, seal)]
        if doomed:
            store.delete(doomed)
            done = False
        if done:
            return


def _needs_marker(layout: Layout, item: ListedObject, seal: int) -> bool:
    seq = layout.entry_seq(item.key)
    return seq is not None and seq < seal and item.size > 0


def _is_doomed(layout: Layout, item: ListedObject, seal: int) -> bool:
    last = layout.accelerator_seq(item.key)
    return last is not None and last < seal
