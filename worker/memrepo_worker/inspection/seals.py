"""What a delete left: the seal behind the markers, and its base, of which neither stands in for the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memrepo_worker.inspection.damage import Damage, DamageFoundError, Kind
from memrepo_worker.inspection.listing import JournalListing
from memrepo_worker.inspection.objects import Objects, ledger_of
from memrepo_worker.inspection.parts import Listed, entry_of, read_part
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.journal.seal import ends_repo
from memrepo_worker.store.interface import Store


@dataclass(frozen=True, slots=True)
class Seal:
    """The last seal of a journal; ``has_base`` is whether its base was read, so that ``lines`` are all that it left."""

    seq: int
    has_base: bool
    lines: tuple[LedgerLine, ...]
    ledgers: frozenset[bytes]
    damages: tuple[Damage, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """An entry or base: its refs, and its ledger where it has none."""

    refs: Mapping[str, str]
    ledger: bytes = b""
    lines: tuple[LedgerLine, ...] = ()


def find_seal(store: Store, listing: JournalListing, objects: Objects, bytes_max: int) -> Seal | None:
    """Return the first seal above the last marker, with what is wrong with it; None: there is none.

    The base is written before the first marker is, so below markers there is one, also while a delete goes on.

    Raises:
        UnavailableError, RefusedError: the store does not give an object.
        GitTroubleError, GitOverBoundsError: the machine, or the bounds for git, do not let it.
    """
    marker = listing.last_marker
    for seq in sorted(seq for seq in {*listing.entries, *listing.bases} if seq > marker):
        entry = _read(store, listing.entries.get(seq), objects, bytes_max)
        base = _read(store, listing.bases.get(seq), objects, bytes_max)
        if not _is_seal(entry, base, is_next=seq == marker + 1):
            continue
        damages = [each for each in (entry, base) if isinstance(each, Damage)]
        if base is None:
            detail = f"the delete that ends with entry {seq} left it, and it is not there"
            damages.append(Damage(listing.layout.base(seq), Kind.MISSING, detail))
        if entry is None and seq > listing.newest:
            detail = f"entry {seq} is not there, and the base of the delete that ends with it is"
            damages.append(Damage(listing.layout.entry(seq), Kind.MISSING, detail))
        parts = [each for each in (base, entry) if isinstance(each, _Part)]
        lines = parts[0].lines if parts else ()
        ledgers = frozenset(each.ledger for each in parts)
        return Seal(seq, isinstance(base, _Part), lines, ledgers, tuple(damages))
    return None


def _is_seal(entry: _Part | Damage | None, base: _Part | Damage | None, *, is_next: bool) -> bool:
    """Whether the repository ended here; where both are damaged, by the place, which ``is_next`` to a marker."""
    if isinstance(entry, _Part) and ends_repo(entry.refs, entry.lines):
        return True
    if isinstance(base, _Part):
        return not base.refs
    return is_next and isinstance(entry, Damage) and isinstance(base, Damage)


def _read(store: Store, item: Listed | None, objects: Objects, bytes_max: int) -> _Part | Damage | None:
    if item is None:
        return None
    try:
        part = entry_of(read_part(store, item, bytes_max))
        if part.refs:
            return _Part(part.refs)
        place = objects.beside()
        place.take(item.key, part.pack, [part.ledger_sha])
        return _Part({}, bytes.fromhex(part.ledger_sha), ledger_of(item.key, part, place.reader()))
    except DamageFoundError as found:
        return found.damage
