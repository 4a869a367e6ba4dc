"""Checking one journal as it was listed: its entries from the first, or the last seal, and what stands for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from memrepo_worker.git.command import GitError, GitOverBoundsError, GitTroubleError
from memrepo_worker.git.packs import join_packs
from memrepo_worker.inspection.covers import Covers
from memrepo_worker.inspection.damage import Damage, DamageFoundError, Kind
from memrepo_worker.inspection.listing import JournalListing
from memrepo_worker.inspection.objects import Objects, ledger_of
from memrepo_worker.inspection.parts import Listed, batches, entry_of, read_part
from memrepo_worker.inspection.seals import Seal, find_seal
from memrepo_worker.journal.entry import Entry
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.journal.seal import ends_repo
from memrepo_worker.store.interface import Store

KeptLines = Callable[[Sequence[LedgerLine]], Sequence[LedgerLine]]
"""Says which ledger lines a base must have still."""


class LookCloserError(Exception):
    """Something is wrong among entries that were looked at together."""


@dataclass
class _Stretch:
    """What entries hold between two places where a base or segment begins or ends."""

    first: int
    last: int
    ids: set[bytes] = field(default_factory=set)
    ledgers: set[bytes] = field(default_factory=set)
    lines: list[LedgerLine] = field(default_factory=list)
    is_sound: bool = True


class JournalCheck:
    """Checks one journal. ``each``: entries one by one, so that what is damaged has a name; else many at once."""

    def __init__(
        self, store: Store, listing: JournalListing, objects: Objects, executor: Executor, *, each: bool
    ) -> None:
        self.damages = list(listing.damages)
        self.refs: dict[str, str] = {}
        self._store = store
        self._listing = listing
        self._objects = objects
        self._executor = executor
        self._each = each
        self._bytes_max = objects.git.caps.entry_bytes_max
        self._stretches: list[_Stretch] = []
        self._refs_at: dict[int, dict[str, str]] = {}
        self._tips: set[str] = set()
        self._is_sound = not listing.damages
        self._follows = True
        self._last = 0
        self._begins_after = 0
        self._seen: dict[int, int] = {}
        self._covers = Covers(store, listing, objects, self._bytes_max)
        self._knows_ledger = True
        self.was_deleted = False

    def run(self, keep: KeptLines) -> None:
        """Check all; ``damages`` then holds what was found.

        Raises:
            LookCloserError: something is wrong, and each entry has to be looked at by itself.
            UnavailableError, RefusedError: the store does not give an object.
            GitTroubleError, GitOverBoundsError: the machine, or the bounds for git, do not let it.
        """
        listing = self._listing
        begin = self._begins_after = self._last = self._begin()
        ends = {
            *listing.bases,
            *(last for _, last in listing.segments),
            *(first - 1 for first, _ in listing.segments),
        }
        items = [listing.entries[seq] for seq in sorted(listing.entries) if seq > begin]
        for batch in batches(items, ends):
            self._take(batch)
            self._check_what_ends_at(batch[-1].seq, begin, keep)
        for item in (*listing.bases.values(), *listing.segments.values()):
            if item.seq > begin and item.seq not in listing.entries:
                self._found(Damage(item.key, Kind.UNEQUAL, self._ends_beyond(item.seq)))
        if self._is_sound and self._tips:
            self._check_all(items[-1].key)

    def _ends_beyond(self, seq: int) -> str:
        newest = self._listing.newest
        if seq < newest:
            return "it ends with an entry that is not there"
        return (
            f"it ends with entry {seq}, and the journal with entry {newest}: it may be the last copy of what lies "
            "between, so keep it"
        )

    def _check_all(self, key: str) -> None:
        try:
            self._objects.reach(key, self._tips)
            self._objects.check(key)
        except DamageFoundError as found:
            self._found(found.damage)

    def _found(self, damage: Damage) -> None:
        if not self._each:
            raise LookCloserError
        self.damages.append(damage)

    # Where the journal begins

    def _begin(self) -> int:
        """Return the last seal below which a delete has removed what was there; 0: the journal begins at its first."""
        marker = self._listing.last_marker
        if not marker:
            return 0
        seal = find_seal(self._store, self._listing, self._objects, self._bytes_max)
        if seal is not None:
            self._take_seal(seal)
            return seal.seq
        if marker < self._listing.newest or not any(base >= marker for base in self._listing.bases):
            self._found(
                Damage(
                    self._listing.entries[marker].key,
                    Kind.MARKER,
                    "it has no bytes, and no delete lies above it",
                )
            )
        return marker

    def _take_seal(self, seal: Seal) -> None:
        for damage in seal.damages:
            self._found(damage)
        self._knows_ledger = seal.has_base
        ledgers = {*seal.ledgers}
        self._stretches.append(_Stretch(1, seal.seq, ledgers, ledgers, [*seal.lines]))
        self._refs_at[seal.seq] = {}
        self.was_deleted = True

    # The entries

    def _take(self, batch: Sequence[Listed]) -> None:
        stretch = _Stretch(batch[0].seq, batch[-1].seq)
        self._stretches.append(stretch)
        parts: list[tuple[Listed, Entry]] = []
        reads = self._executor.map(lambda item: read_part(self._store, item, self._bytes_max), batch)
        for item, read in zip(batch, reads, strict=True):
            try:
                parts.append((item, entry_of(read)))
            except DamageFoundError as found:
                self._found(found.damage)
                self._is_sound = stretch.is_sound = False
        stretch.is_sound = self._is_sound
        if self._each:
            parts = [(item, part) for item, part in parts if self._is_taken(item, part)]
            stretch.is_sound = self._is_sound
        elif any(self._is_copy(item, part) for item, part in parts):
            raise LookCloserError
        elif (pack := join_packs(part.pack for _, part in parts)) is not None:
            self._take_together(pack)
        stretch.ids |= self._objects.new_ids()
        reader = self._objects.reader()
        for item, part in parts:
            try:
                lines = ledger_of(item.key, part, reader)
                stretch.lines += lines
                self.was_deleted |= ends_repo(part.refs, lines)
            except DamageFoundError as found:
                if self._follows or found.damage.detail.startswith("line "):
                    self._found(found.damage)
                self._is_sound = stretch.is_sound = False
            stretch.ledgers.add(bytes.fromhex(part.ledger_sha))
            self._tips |= part.head.named
        if parts:
            self.refs = dict(parts[-1][1].refs)
            self._refs_at[parts[-1][0].seq] = self.refs

    def _take_together(self, pack: bytes | memoryview) -> None:
        try:
            self._objects.git.index_pack(self._objects.path, pack)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError as error:
            raise LookCloserError from error

    def _is_copy(self, item: Listed, part: Entry) -> int:
        """Return which earlier entry has the same bytes, 0 for none: each entry has a ledger line of its own.

        Not so those of which each request was too old, and refused once more; that is seen where they come one by one.
        """
        first = self._seen.setdefault(int(part.sha256[:16], 16), item.seq)
        if first == item.seq or (self._each and self._is_told_again(item, part)):
            return 0
        return first

    def _is_told_again(self, item: Listed, part: Entry) -> bool:
        """Whether all that an entry tells may be told twice; its ledger came with the one whose bytes it has."""
        try:
            lines = ledger_of(item.key, part, self._objects.reader())
        except DamageFoundError:
            return False
        return bool(lines) and all(line.may_come_again for line in lines)

    def _is_taken(self, item: Listed, part: Entry) -> bool:
        """Take an entry in by itself; after one that is damaged, what builds on it is no damage of its own.

        Where something stands for that one, its objects come from there, and what follows is held against all again.
        """
        if item.seq - 1 > self._last:
            self._follows = self._covers.take(item.seq - 1)
        self._last = item.seq
        if copied := self._is_copy(item, part):
            detail = f"it has the bytes of entry {copied}: a copy of that one is in its place"
            self._lost(Damage(item.key, Kind.DISCONNECTED, detail), item.seq)
            return False
        damage = self._damage_of(item, part)
        if damage is None:
            self._follows = self._follows or item.seq <= self._covers.reach
            return True
        if damage.kind is not Kind.DISCONNECTED:
            self._lost(damage, item.seq)
            return False
        if not self._follows:
            return False
        before = {each.last: each.ids for each in self._stretches}
        blamed = self._covers.blamed(item, damage, self._begins_after, before)
        if blamed.key != item.key and self._covers.take(item.seq - 1) and not self._damage_of(item, part):
            self._lost(blamed, item.seq - 1)
            return True
        self._lost(blamed if blamed.key == item.key else damage, item.seq)
        return False

    def _damage_of(self, item: Listed, part: Entry) -> Damage | None:
        try:
            self._objects.take(item.key, part.pack, part.head.named)
        except DamageFoundError as found:
            return found.damage
        return None

    def _lost(self, damage: Damage, seq: int) -> None:
        """Note that an entry is damaged; what stands for it is not what is wrong where they differ."""
        self._is_sound = False
        ends = {self._listing.bases.get(seq), *self._listing.segments.values()}
        keys = {each.key for each in ends if each is not None and each.seq == seq}
        self.damages = [
            each for each in self.damages if each.kind is not Kind.UNEQUAL or each.key not in keys
        ]
        self._found(damage)
        self._follows = self._covers.take(seq)

    # What stands for them

    def _check_what_ends_at(self, seq: int, begin: int, keep: KeptLines) -> None:
        base = self._listing.bases.get(seq)
        items = [
            (item, first)
            for (first, last), item in self._listing.segments.items()
            if last == seq and first > begin
        ]
        for item, first in [*items, *([(base, 0)] if base is not None else [])]:
            try:
                self._check_joined(item, first, keep)
            except DamageFoundError as found:
                self._found(found.damage)

    def _check_joined(self, item: Listed, first: int, keep: KeptLines) -> None:
        """Check a segment, or (``first`` is 0) a base, against what it stands for.

        Raises:
            DamageFoundError: it is not that.
        """
        part = entry_of(read_part(self._store, item, self._bytes_max))
        refs = self._refs_at.get(item.seq)
        if refs is not None and dict(part.refs) != refs:
            raise _unequal(item, f"its branches and tags are not those of entry {item.seq}")
        if not first and part.prerequisites:
            raise _unequal(item, "it needs commits that are not in it")
        within = [stretch for stretch in self._stretches if stretch.first >= first]
        place = self._objects.beside() if first else self._objects.apart()
        if not first or all(stretch.is_sound for stretch in self._stretches):
            place.take(item.key, part.pack, part.head.named - {*part.prerequisites}, whole=True)
        else:
            return  # what it builds on is damaged, so nothing can be said of it
        lines = ledger_of(item.key, part, place.reader())
        if not all(stretch.is_sound for stretch in within) or not (first or self._knows_ledger):
            return
        self._compare(item, place.new_ids() - {bytes.fromhex(part.ledger_sha)}, within)
        _compare_lines(
            item, lines, [line for stretch in within for line in stretch.lines], keep if not first else None
        )

    def _compare(self, item: Listed, ids: set[bytes], within: Sequence[_Stretch]) -> None:
        """Compare the objects in it with those of the entries; git may have added what a delta was made from."""
        before: set[bytes] = set().union(*(each.ids for each in self._stretches[: -len(within)]))
        inside: set[bytes] = set().union(*(each.ids for each in within))
        ledgers: set[bytes] = set().union(*(each.ledgers for each in within))
        if missing := inside - before - ledgers - ids:
            raise _unequal(
                item, f"{len(missing)} objects of its entries are not in it, {min(missing).hex()} for one"
            )
        if extra := ids - inside - before:
            raise _unequal(
                item, f"{len(extra)} objects in it are in none of its entries, {min(extra).hex()} for one"
            )


def _compare_lines(
    item: Listed, lines: Sequence[LedgerLine], entries: Sequence[LedgerLine], keep: KeptLines | None
) -> None:
    """Compare its ledger: a segment's is all lines, a base's at least those that are kept."""
    found = [str(line) for line in lines]
    there = [str(line) for line in entries]
    wanted = there if keep is None else [str(line) for line in keep(entries)]
    if {*wanted} - {*found} or {*found} - {*there}:
        raise _unequal(item, "its ledger is not that of its entries")


def _unequal(item: Listed, detail: str) -> DamageFoundError:
    return DamageFoundError(Damage(item.key, Kind.UNEQUAL, detail))
