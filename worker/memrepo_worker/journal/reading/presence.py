"""Whether the entries that a worker has taken in are in the store still.

Entries are for ever (docs/format.md): a delete replaces them by markers, and nothing else removes or changes one. So an
entry that one had, and that is gone or broken now, was lost by an accident, and with it what was acknowledged. That is
damage, also where what is left makes a whole: a journal whose newest entry is gone looks like a shorter one.
"""

from __future__ import annotations

from itertools import takewhile

from memrepo_worker.journal.entry import (
    Entry,
    JournalDamagedError,
    JournalUnreadableError,
    NewerJournalError,
)
from memrepo_worker.journal.reading.parts import LocalCopyStaleError
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.store.interface import NotThereError

ENTRIES_LOOKED_AT_MAX = 900
"""How far back is looked at most: one page of a listing shows so many."""


class EntryLostError(JournalDamagedError):
    """An entry that is in the local copy is gone from the store, or broken there: keep the copy, it has what was in it.

    ``copy`` is where it lies, once that is known.
    """

    copy: str = ""


def require_present(reader: JournalReader, first: int, last: int, last_sha256: str) -> Entry | None:
    """Return if none of the entries ``first`` to ``last``, which a local copy has, was lost; for when it seems void.

    Returns the entry in the place of the last where that is another, and whole: whether it follows on those before it,
    is for the caller to find out. None where it is the same, and where a delete took them: then the copy is of no use,
    and nothing was lost from what the store holds.

    Raises:
        EntryLostError: one is not there, or the last is not whole any more.
        UnavailableError, RefusedError: the store does not say.
    """
    missing = _first_missing(reader, first, last)
    if missing is not None:
        raise EntryLostError(f"entry {missing}, which this worker has, is not in the store any more", missing)
    try:
        return None if reader.has_entry(last, last_sha256) else next(reader.some(last, 1), None)
    except NewerJournalError:
        return None  # what only cold opening can judge
    except LocalCopyStaleError as error:
        if _may_be_deleted(reader, last):
            return None
        raise EntryLostError(
            f"entry {last} has no bytes, and no delete took them; this worker has it whole", last
        ) from error
    except JournalDamagedError as error:
        if error.seq != last:
            return None
        raise EntryLostError(f"{error}; this worker has it whole", last) from error


def _may_be_deleted(reader: JournalReader, seq: int) -> bool:
    """Whether an entry without bytes may be what a delete left: that has a base above it, or at least its seal."""
    bases = (reader.layout.base_seq(item.key) for item in reader.store.list(reader.layout.bases))
    if any(base is not None and base > seq for base in bases):
        return True
    try:
        following = next(reader.some(seq + 1, 1), None)
    except (LocalCopyStaleError, JournalUnreadableError):
        return True  # that is for cold opening to judge
    return following is not None and not following.refs


def _first_missing(reader: JournalReader, first: int, last: int) -> int | None:
    layout = reader.layout
    listed = reader.store.list(layout.journal, layout.entry(first - 1) if first > 1 else "")
    numbers = (seq for item in listed if (seq := layout.entry_seq(item.key)) is not None)
    there = set(takewhile(lambda seq: seq <= last, numbers))
    return next(
        (seq for seq in range(first, last + 1) if seq not in there and not _is_there(reader, seq)), None
    )


def _is_there(reader: JournalReader, seq: int) -> bool:
    """Whether an entry is there that no listing shows."""
    try:
        reader.store.get_range(reader.layout.entry(seq), 0, 1)
    except NotThereError:
        return False
    return True
