"""What bases and segments say of an entry that they stand for: whether it is the one that was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from memrepo_worker.git.command import GitError, GitOverBoundsError, GitTroubleError
from memrepo_worker.inspection.damage import Damage, DamageFoundError, Kind
from memrepo_worker.inspection.listing import JournalListing
from memrepo_worker.inspection.objects import Objects
from memrepo_worker.inspection.parts import Listed, entry_of, read_part
from memrepo_worker.journal.entry import Entry
from memrepo_worker.store.interface import Store


class Covers:
    """Reads bases and segments of one journal where an entry does not follow; each at most twice."""

    def __init__(self, store: Store, listing: JournalListing, objects: Objects, bytes_max: int) -> None:
        self._store = store
        self._listing = listing
        self._objects = objects
        self._bytes_max = bytes_max
        self._ids: dict[str, set[bytes] | None] = {}
        self._taken: set[str] = set()
        self.reach = 0
        """The last entry up to which all objects are there, whatever was lost of the entries."""

    def blamed(self, item: Listed, damage: Damage, begin: int, before: Mapping[int, set[bytes]]) -> Damage:
        """Return which entry is damaged where one does not follow on the one before it: that one, or itself.

        ``begin`` is the entry after which the journal begins; ``before`` is which objects came with the entries up to
        those numbers.
        """
        last = self._listing.entries.get(item.seq - 1)
        if last is None or last.seq <= begin:
            return damage
        is_last_other = self._differs(last, before)
        if is_last_other is None:
            is_other = self._differs(item, before)
            if is_other is None:
                detail = (
                    f"it does not follow on entry {last.seq}: one of the two was replaced; {damage.detail}"
                )
                return Damage(item.key, Kind.DISCONNECTED, detail)
            is_last_other = not is_other
        if not is_last_other:
            return damage
        detail = (
            f"it has objects that the base or segment over it has not, and entry {item.seq} does not follow on it: "
            "it was replaced, probably by another memory's"
        )
        return Damage(last.key, Kind.DISCONNECTED, detail)

    def take(self, seq: int) -> bool:
        """Take in the objects of what stands for an entry, so that what builds on it is told from what does not."""
        for item, _ in self._of(seq):
            if item.key not in self._taken:
                self._taken.add(item.key)
                try:
                    part = entry_of(read_part(self._store, item, self._bytes_max))
                    tips = part.head.named - {*part.prerequisites}
                    self._objects.take(item.key, part.pack, tips, whole=True)
                except DamageFoundError:
                    continue  # it is named where it ends
                self.reach = max(self.reach, item.seq)
        return seq <= self.reach

    def _of(self, seq: int) -> Iterator[tuple[Listed, int]]:
        """Yield the segment and base that stand for an entry, with the first entry that they stand for."""
        for (first, last), item in sorted(self._listing.segments.items()):
            if first <= seq <= last:
                yield item, first
        bases = [base for base in self._listing.bases if base >= seq and base in self._listing.entries]
        if bases:
            yield self._listing.bases[min(bases)], 1

    def _differs(self, item: Listed, before: Mapping[int, set[bytes]]) -> bool | None:
        """Whether an entry has objects that what stands for it has not; None: nothing sound stands for it."""
        read = read_part(self._store, item, self._bytes_max)
        if isinstance(read, Damage):
            return None
        for cover, first in self._of(item.seq):
            ids = self._ids_of(cover, first)
            if ids is not None:
                known = ids.union(*(each for last, each in before.items() if last < first))
                return bool(self._objects_of(read) - known)
        return None

    def _ids_of(self, cover: Listed, first: int) -> set[bytes] | None:
        if cover.key not in self._ids:
            place = self._objects.apart() if first == 1 else self._objects.beside()
            try:
                part = entry_of(read_part(self._store, cover, self._bytes_max))
                place.take(cover.key, part.pack, part.head.named - {*part.prerequisites}, whole=True)
                self._ids[cover.key] = place.new_ids()
            except DamageFoundError:
                self._ids[cover.key] = None
        return self._ids[cover.key]

    def _objects_of(self, entry: Entry) -> set[bytes]:
        """Return the commits and tags that an entry names, and its objects where git can tell these."""
        named = {bytes.fromhex(sha) for sha in (*entry.refs.values(), *entry.prerequisites)}
        place = self._objects.beside()
        try:
            place.git.index_pack(place.path, entry.pack)
        except (GitTroubleError, GitOverBoundsError):
            raise
        except GitError:
            return named
        return (named | place.new_ids()) - {bytes.fromhex(entry.ledger_sha)}
