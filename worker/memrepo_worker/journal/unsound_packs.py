"""Packs of entries that git has refused: whose fault is that?"""

from __future__ import annotations

from collections.abc import Sequence

from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.git.command import GitError
from memrepo_worker.git.pack_sizes import PackTooLargeError, check_unpacked
from memrepo_worker.git.packed.taking_in import UnresolvedDeltasError
from memrepo_worker.git.packs import let_go
from memrepo_worker.journal.entry import Entry, EntryDoesNotFollowError, JournalDamagedError


def refuse_unsound_packs(entries: Sequence[Entry], caps: GitCaps, error: GitError | None = None) -> None:
    """Return if each of these packs is one, stands for no more than the caps allow, and ``error`` is not about deltas.

    Raises:
        EntryDoesNotFollowError: one has deltas of objects that nothing before it has, as ``error`` says.
        JournalDamagedError: one is none, or stands for more; it names the entry.
    """
    for entry in entries:
        try:
            check_unpacked(
                entry.pack, caps.unpacked_bytes_max, caps.unpacked_bytes_max, caps.allocation_bytes_max
            )
            let_go(entry.pack)
        except PackTooLargeError as large:
            raise JournalDamagedError(
                f"entry {entry.seq} has a pack that stands for too much: {large}; "
                "MEMREPO_FOREIGN_UNPACKED_BYTES_MAX and MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX allow for more",
                entry.seq,
            ) from large
        except ValueError as unsound:
            raise JournalDamagedError(f"entry {entry.seq}: {unsound}", entry.seq) from unsound
    if isinstance(error, UnresolvedDeltasError):
        seq = entries[error.number].seq
        raise EntryDoesNotFollowError(
            f"entry {seq} has deltas of objects that nothing before it has", seq
        ) from error
