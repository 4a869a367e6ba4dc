"""What a journal consists of, by its listing: numbers without a gap, a seal above markers, bases and segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memrepo_worker.inspection.damage import Damage, Kind
from memrepo_worker.inspection.foreign import Foreign
from memrepo_worker.inspection.parts import Listed
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, SEQ_MAX, Layout, is_stray
from memrepo_worker.store.interface import ListedObject


@dataclass(slots=True)
class JournalListing:
    """One agent's journal as it was listed. ``damages`` are those that the listing shows by itself.

    ``foreign`` is what lies there and is none of it.
    """

    layout: Layout
    entries: dict[int, Listed] = field(default_factory=dict)
    bases: dict[int, Listed] = field(default_factory=dict)
    segments: dict[tuple[int, int], Listed] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    foreign: Foreign = field(default_factory=Foreign)

    @classmethod
    def of(cls, layout: Layout, objects: Sequence[ListedObject]) -> JournalListing:
        """Return what the objects under an agent's prefix are; legacy files and reservations are passed over."""
        found = cls(layout)
        for item in objects:
            seq, base, segment = (
                layout.entry_seq(item.key),
                layout.base_seq(item.key),
                layout.segment_seqs(item.key),
            )
            last = seq if seq is not None else base if base is not None else segment[1] if segment else None
            if layout.is_unknown(item.key):
                found.foreign.add(item)
            if last is None or (seq is None and item.size < CONTENT_BYTES_MIN):
                continue
            if not 0 < last <= SEQ_MAX or (segment is not None and not 0 < segment[0] <= segment[1]):
                found.damages.append(Damage(item.key, Kind.NUMBER, "no object can have that number"))
            elif seq is not None:
                found.entries[seq] = Listed(item.key, seq, item.size)
            elif base is not None:
                found.bases[base] = Listed(item.key, base, item.size)
            elif segment is not None:
                found.segments[segment] = Listed(item.key, segment[1], item.size)
        found._find_gaps()
        return found

    @property
    def newest(self) -> int:
        """The last entry's number; 0 where there is none."""
        return max(self.entries, default=0)

    @property
    def last_marker(self) -> int:
        """The number of the last marker below which a delete has been; 0 where there is none."""
        return max((seq for seq, item in self.entries.items() if not item.size), default=0)

    def _find_gaps(self) -> None:
        expected, numbers = 1, sorted(self.entries)
        for place, seq in enumerate(numbers):
            if is_stray(seq, expected):
                self.damages.append(
                    Damage(
                        self.layout.entry(seq),
                        Kind.NUMBER,
                        f"entry {expected} would be the next, and is not there",
                    )
                )
                del self.entries[seq]
                continue
            if seq != expected:
                which = (
                    f"entry {expected} is" if seq == expected + 1 else f"entries {expected} to {seq - 1} are"
                )
                told = f"{which} not there, and entry {seq} is"
                if seq - expected > len(numbers) - place:  # more than follow
                    told += f" (remove {self.layout.entry(seq)}, if memrepo did not write it)"
                self.damages.append(Damage(self.layout.entry(expected), Kind.MISSING, told))
            expected = seq + 1
