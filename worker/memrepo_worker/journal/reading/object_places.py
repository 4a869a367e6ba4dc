"""Where in a journal an object lies, or is named: for who has to say which part of the store is damaged."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain

from memrepo_worker.git.pack_sizes import holds, names
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.reading.found import FoundJournal
from memrepo_worker.journal.reading.reader import JournalReader

_LACKING_MAX = 1000


class LackedObjects:
    """The last objects that journals were found to name and not to have, each up to an entry. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], JournalDamagedError] = OrderedDict()

    def find(self, prefix: str, sha: str, seq: int) -> JournalDamagedError | None:
        """Return the error for the entry that names an object, where it is known that none up to ``seq`` has it."""
        return self._known.get((prefix, sha, seq))

    def keep(self, prefix: str, sha: str, seq: int, error: JournalDamagedError) -> None:
        """Keep that, for whoever needs the object next."""
        with self._lock:
            self._known[prefix, sha, seq] = error
            while len(self._known) > _LACKING_MAX:
                self._known.popitem(last=False)


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
