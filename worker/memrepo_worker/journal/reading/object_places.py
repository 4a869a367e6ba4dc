"""Where in a journal an object lies, or is named: for who has to say which part of the store is damaged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from memrepo_worker.git.pack_sizes import holds, names
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.reading.found import FoundJournal
from memrepo_worker.journal.reading.reader import JournalReader


def holding(journal: JournalReader, sha: str, fault: str) -> JournalDamagedError:
    """Return the error for the entry, or base, that holds an object which none may hold.

    Raises:
        JournalUnreadableError, UnavailableError, RefusedError: as ``JournalReader.read``.
    """
    return journal.read(lambda found: _first(found, lambda pack: holds(pack, sha), fault))


def naming(journal: JournalReader, sha: str) -> JournalDamagedError:
    """Return the error for the entry, or base, whose objects name one that is nowhere in the journal.

    Raises:
        JournalUnreadableError, UnavailableError, RefusedError: as ``JournalReader.read``.
    """
    fault = f"it needs object {sha}, which is in no entry"
    return journal.read(lambda found: _first(found, lambda pack: names(pack, sha), fault))


def _first(
    found: FoundJournal, look: Callable[[bytes | memoryview], bool | None], fault: str
) -> JournalDamagedError:
    """Return the error for the first of which that is so; else for the first of which it may be, as it has deltas."""
    # What is looked for is a commit, a tree or a tag: of these bases and segments alone may have deltas.
    maybe: JournalDamagedError | None = None
    base = () if found.base is None else (found.base,)
    for entry in chain(base, chain.from_iterable(found.batches())):
        said = look(entry.pack)
        if said is not False and (said or maybe is None):
            maybe = JournalDamagedError(fault, entry.seq, in_base=entry is found.base)
        if said:
            break
    return maybe or JournalDamagedError(fault, 0)
