"""Whether there is a memory, by a request or a few: where many are listed, opening each would cost too much."""

from __future__ import annotations

from itertools import islice

from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.entry import HEADER_BYTES_MAX, JournalUnreadableError, decode_head
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.interface import NotThereError, Store, UnavailableError

_BEGINNING_BYTES = 4 * 1024
"""As much as the header of an entry mostly has."""

_LISTED_AT_A_TIME = 1_000
_LISTINGS_MAX = 10
"""How far it looks behind a delete. So many entries of refused requests alone are taken for all there is."""

_TRIES_MAX = 3


def is_there(store: Store, layout: Layout) -> bool:
    """Whether a memory is there: begun, and no delete of it has come to its end since; or so damaged that none can say.

    The first entry says it of all that were never deleted: a delete that has come to its end has made it a marker, and
    left a base in which it is written. That is one request; after a delete it takes four or five.

    Raises:
        UnavailableError: the store does not say.
    """
    try:
        if _has_refs(store, layout.entry(1), 1):
            return True
    except NotThereError:
        # A journal without its beginning is a damaged one.
        return any(True for _ in store.list(layout.journal))
    except JournalUnreadableError:
        return True
    for _ in range(_TRIES_MAX):
        try:
            return _is_there_since(store, layout)
        except NotThereError:
            continue  # another base is in its place
        except JournalUnreadableError:
            return True
    raise UnavailableError(f"{layout.bases} does not hold still")


def _is_there_since(store: Store, layout: Layout) -> bool:
    """Whether the newest base, or what was appended after it, has a branch."""
    base = Accelerators.of(layout, store.list(layout.bases)).base
    if base and _has_refs(store, layout.base(base), base):
        return True
    entries = store.list(layout.journal, layout.entry(base) if base else "")
    for _ in range(_LISTINGS_MAX):
        listed = list(islice(entries, _LISTED_AT_A_TIME))
        written = [seq for item in listed if item.size and (seq := layout.entry_seq(item.key)) is not None]
        if written and _has_refs(store, layout.entry(written[-1]), written[-1]):
            return True
        if len(listed) < _LISTED_AT_A_TIME:
            return False
    return False


def _has_refs(store: Store, key: str, seq: int) -> bool:
    """Whether an entry, or base, has any branch or tag; a marker has none."""
    found = store.get_range(key, 0, _BEGINNING_BYTES)
    if not found.size:
        return False
    if found.size > len(found.data) and b"\n\n" not in found.data:
        found = store.get_range(key, 0, HEADER_BYTES_MAX + _BEGINNING_BYTES, found.pin)
    return bool(decode_head(seq, found.data).refs)
