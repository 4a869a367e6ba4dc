"""What kind the objects of a repository's packs are, and how large: in memory, from packs whose every byte was proven.

In a pack both stand in a few bits that have no checksum but that of the whole pack. So the headers of a pack are read
once, after the whole pack was found to be what was written; from there on they are told from here, whatever becomes of
the files. Costs about 0.5 ms for each MB of a pack and 2 ms for each 1,000 objects, where it is first asked for, and 18
to 36 bytes of memory an object.
"""

from __future__ import annotations

from array import array

from memrepo_worker.git.objects import KINDS, Kind
from memrepo_worker.threads.giving_way import give_way

ToldObject = tuple[Kind, int, bool]
"""The kind of an object, its size in bytes, and whether it lies as a delta in any pack."""

_KIND_MASK, _DELTA, _SIZE_SHIFT = 7, 8, 4
_SIZE_MAX = (1 << 32 - _SIZE_SHIFT) - 1
_SLOTS_MIN = 64
_SLOTS_PER_STEP = 256


class HeaderTable:
    """Kind and size of objects by id: a hash table of which each place is 12 bytes.

    An id stands there by a hash that nobody outside this process can foresee, of 64 bits: two of a million objects have
    the same one in one of 40 million processes.
    """

    def __init__(self) -> None:
        self._hashes, self._values = _slots(_SLOTS_MIN)
        self._large: dict[str, int] = {}
        self._count = 0

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory."""
        return (self._hashes.itemsize + self._values.itemsize) * len(self._hashes)

    def find(self, sha: str) -> ToldObject | None:
        """Return what is told of an object, or None where there is no such object."""
        wanted, hashes, values = hash(sha), self._hashes, self._values
        last = len(hashes) - 1
        slot = wanted & last
        while value := values[slot]:
            if hashes[slot] == wanted:
                size = value >> _SIZE_SHIFT
                size = self._large[sha] if size == _SIZE_MAX else size
                return KINDS[value & _KIND_MASK], size, value & _DELTA != 0
            slot = slot + 1 & last
        return None

    def add(self, sha: str, kind: int, size: int, *, is_delta: bool) -> None:
        """Take in an object, its kind given as in packs; one that is a delta in any pack counts as one."""
        wanted, values = hash(sha), self._values
        slot = self._slot(wanted)
        before = values[slot]
        if size >= _SIZE_MAX:
            self._large[sha], size = size, _SIZE_MAX
        self._hashes[slot] = wanted
        values[slot] = size << _SIZE_SHIFT | before & _DELTA | (_DELTA if is_delta else 0) | kind
        if not before:
            self._count += 1
            if _is_full(len(values), self._count):
                self._grow(2 * len(values))

    def expect(self, count: int) -> None:
        """Have room for so many more objects: what grows step by step is there twice at each of them."""
        slots = len(self._values)
        while _is_full(slots, self._count + count):
            slots *= 2
        if slots > len(self._values):
            self._grow(slots)

    def _slot(self, wanted: int) -> int:
        """Return where a hash stands, or the empty place where it belongs."""
        last = len(self._hashes) - 1
        slot = wanted & last
        while self._values[slot] and self._hashes[slot] != wanted:
            slot = slot + 1 & last
        return slot

    def _grow(self, slots: int) -> None:
        hashes, values = self._hashes, self._values
        self._hashes, self._values = _slots(slots)
        for number, (wanted, value) in enumerate(zip(hashes, values, strict=True)):
            if not number % _SLOTS_PER_STEP:
                give_way()
            if value:
                slot = self._slot(wanted)
                self._hashes[slot], self._values[slot] = wanted, value


def _slots(count: int) -> tuple[array[int], array[int]]:
    return array("q", (0,)) * count, array("I", (0,)) * count


def _is_full(slots: int, count: int) -> bool:
    return 3 * count > 2 * slots
