"""Packs of entries that git has refused: whose fault is that?"""

from __future__ import annotations

from collections.abc import Iterable

from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.git.pack_sizes import PackTooLargeError, check_unpacked
from memrepo_worker.journal.entry import Entry, JournalDamagedError


def refuse_unsound_packs(entries: Iterable[Entry], caps: GitCaps) -> None:
    """Return if each of these packs is one, and stands for no more than the caps allow.

    Raises:
        JournalDamagedError: one does not; it names the entry.
    """
    for entry in entries:
        try:
            check_unpacked(
                entry.pack, caps.unpacked_bytes_max, caps.unpacked_bytes_max, caps.allocation_bytes_max
            )
        except PackTooLargeError as error:
            raise JournalDamagedError(
                f"entry {entry.seq} has a pack that stands for too much: {error}; "
                "MEMREPO_FOREIGN_UNPACKED_BYTES_MAX and MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX allow for more",
                entry.seq,
            ) from error
        except ValueError as error:
            raise JournalDamagedError(f"entry {entry.seq}: {error}", entry.seq) from error
