"""Reading one object of a journal for a check: the entry that it is, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from memrepo_worker.git.bundles import NotABundleError, decode_bundle
from memrepo_worker.git.packs import is_whole
from memrepo_worker.inspection.damage import Damage, DamageFoundError, Kind
from memrepo_worker.journal.entry import (
    HEADER_BYTES_MAX,
    Entry,
    JournalDamagedError,
    NewerJournalError,
    decode_entry,
)
from memrepo_worker.journal.reading.contents import ListedOtherwiseError, read_bytes
from memrepo_worker.store.interface import NotThereError, Store

_LOOKS_MAX = 3
"""How often an object is looked at that has other bytes than were listed, before it is called damaged."""

BATCH_BYTES_MAX = 32 * 2**20
_BATCH_ENTRIES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry, base or segment as a listing shows it; ``seq`` is the last entry that it stands for."""

    key: str
    seq: int
    size: int


def read_part(store: Store, item: Listed, bytes_max: int) -> Entry | Damage:
    """Return what an object holds, or its damage; of one that is listed as too large no byte is read.

    Of a large one whose header is none no more is read than that. What has other bytes than were listed is listed and
    read again: another may be in its place by now, or the store's answer was cut off.
    """
    for _ in range(_LOOKS_MAX - 1):
        try:
            return _read_once(store, item, bytes_max)
        except ListedOtherwiseError:
            size = next((found.size for found in store.list(item.key) if found.key == item.key), None)
            item = item if size is None else replace(item, size=size)
    try:
        return _read_once(store, item, bytes_max)
    except ListedOtherwiseError as error:
        return Damage(item.key, Kind.CHECKSUM, str(error))


def _read_once(store: Store, item: Listed, bytes_max: int) -> Entry | Damage:
    """Return what an object holds, or its damage.

    Raises:
        ListedOtherwiseError: it has other bytes than were listed.
    """
    if item.size > bytes_max:
        return Damage(
            item.key, Kind.TOO_LARGE, f"{item.size} bytes, over MEMREPO_ENTRY_BYTES_MAX ({bytes_max})"
        )
    data: bytes | memoryview = b""
    try:
        data = read_bytes(store, item.key, item.seq, item.size)
        if data:
            return decode_entry(item.seq, data)
    except NotThereError:
        return Damage(item.key, Kind.MISSING, "it was listed, and is not there")
    except ListedOtherwiseError:
        raise
    except NewerJournalError as error:
        return Damage(item.key, Kind.NEWER, str(error))
    except JournalDamagedError as error:
        return Damage(item.key, Kind.CHECKSUM if _has_other_bytes(data) else Kind.HEADER, str(error))
    return Damage(item.key, Kind.MARKER, "it has no bytes, and no delete lies above it")


def _has_other_bytes(data: bytes | memoryview) -> bool:
    """Whether there is a bundle's header, and behind it no pack that is as it was written."""
    try:
        return not is_whole(decode_bundle(data, HEADER_BYTES_MAX).pack)
    except (NotABundleError, ValueError):
        return False


def batches(items: Iterable[Listed], ends: set[int]) -> Iterator[Sequence[Listed]]:
    """Yield entries some at a time; none of ``ends`` lies within a batch."""
    batch: list[Listed] = []
    size = 0
    for item in items:
        if batch and (
            len(batch) >= _BATCH_ENTRIES_MAX or size + item.size > BATCH_BYTES_MAX or batch[-1].seq in ends
        ):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.size
    if batch:
        yield batch


def entry_of(read: Entry | Damage) -> Entry:
    """Return the entry.

    Raises:
        DamageFoundError: it is none.
    """
    if isinstance(read, Damage):
        raise DamageFoundError(read)
    return read
