"""What git may take on bytes that others wrote: a few of them can stand for gigabytes and minutes.

653 bytes of nested deltas make ``git index-pack`` take 840 MB, 11 MB of zeros in many files 13 s. So memory and
processor time are bounded by what is there to be read, and under caps that an operator sets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from memrepo.limits import MIB
from memrepo_worker.bounds import Bounds

_ALLOCATION_BYTES_LEAST = 64 * MIB
_ALLOCATION_PER_BYTE = 32
_MEMORY_LEAST = 64 * MIB
_MEMORY_PER_ALLOCATION = 4
_CPU_S_LEAST = 20
_CPU_S_PER_MIB = 1
_INFLATED_BYTES_LEAST = 256 * MIB
_INFLATED_PER_BYTE = 64


@dataclass(frozen=True, slots=True)
class GitBounds:
    """The bounds of one run of git: its largest single allocation, and its processor time."""

    allocation_bytes_max: int
    cpu_s_max: int

    @property
    def memory_bytes_max(self) -> int:
        """What it may hold at once: several objects, or very many small things."""
        return _MEMORY_LEAST + _MEMORY_PER_ALLOCATION * self.allocation_bytes_max


@dataclass(frozen=True)
class GitCaps:
    """The most that may be allowed, whatever there is to be read.

    ``unpacked_bytes_max`` bounds the objects of one repository, all together, as they are without compression;
    ``file_bytes_max`` is how large one file may be, ``entry_bytes_max`` one entry, base or segment as it is stored:
    none that is larger is written or read.
    """

    allocation_bytes_max: int = 1024 * MIB
    cpu_s_max: int = 600
    unpacked_bytes_max: int = 4096 * MIB
    file_bytes_max: int = 8 * MIB
    entry_bytes_max: int = Bounds().entry_bytes_max

    @property
    def bounds(self) -> GitBounds:
        """The bounds for what we know."""
        return GitBounds(self.allocation_bytes_max, self.cpu_s_max)

    def bounds_for(self, stored_bytes: int) -> GitBounds:
        """Return the bounds for others' objects that take so many bytes where they are stored.

        They grow with the caps, so that whoever raises one is never held by a bound that no setting moves.
        """
        allocation = max(
            _ALLOCATION_BYTES_LEAST, _ALLOCATION_PER_BYTE * stored_bytes, 4 * self.file_bytes_max
        )
        cpu_s = _CPU_S_LEAST + _CPU_S_PER_MIB * stored_bytes / MIB
        usual = GitCaps()
        return GitBounds(
            _under(self.allocation_bytes_max, usual.allocation_bytes_max, allocation),
            _under(self.cpu_s_max, usual.cpu_s_max, cpu_s),
        )

    def inflated_bytes_max(self, stored_bytes: int) -> int:
        """Return how much a pack of so many bytes may be decompressed, its deltas as they travel."""
        wanted = max(_INFLATED_BYTES_LEAST, _INFLATED_PER_BYTE * stored_bytes)
        return _under(self.unpacked_bytes_max, GitCaps().unpacked_bytes_max, wanted)


def _under(cap: int, usual_cap: int, wanted: float) -> int:
    return min(math.ceil(wanted * max(1, cap / usual_cap)), cap)
