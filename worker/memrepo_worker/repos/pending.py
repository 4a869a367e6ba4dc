"""The published objects of a warm repository that are not on disk yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memrepo.limits import KIB, MIB
from memrepo_worker.git.deltas.encoding import Delta
from memrepo_worker.git.objects import GitObject
from memrepo_worker.git.packs import STORED, Pack, encode_pack
from memrepo_worker.repos.delta_chains import DeltaChains

_LARGE_BYTES = 64 * KIB
"""More of one object does not count as worth a pack: what follows from it can be written with it as a difference."""


@dataclass(frozen=True)
class FlushLimits:
    """How much a warm repository keeps in memory before it writes a pack.

    That flushes five files to disk, which takes 20 ms: it is not done with each entry that a hundred requests share.
    ``first_bytes_max`` is for what a memory begins with, of which there is much, and once. While requests of its agent
    wait behind a turn it is left to a later one, up to ``entries_max`` and ``memory_bytes_max``.
    """

    entries_max: int = 64
    bytes_max: int = MIB
    first_bytes_max: int = 256 * KIB
    memory_bytes_max: int = 4 * MIB


class PendingObjects:
    """Objects in memory that go to disk together, as one pack in which large files may be differences."""

    def __init__(self) -> None:
        self.objects: dict[str, GitObject] = {}
        self.bytes = 0
        self.unsaved_bytes = 0
        self._deltas: dict[str, Delta] = {}

    def add(self, objects: Mapping[str, GitObject], chains: DeltaChains) -> None:
        """Take in the objects of an entry; ``unsaved_bytes`` grows by about what they will take on disk."""
        for sha, item in objects.items():
            if sha in self.objects:
                continue
            delta = chains.deltas.get(sha)
            if delta is not None and delta.base in self.objects:  # which came before, so there are no circles
                self._deltas[sha] = delta
                self.unsaved_bytes += len(delta.data)
            else:
                self.unsaved_bytes += min(len(item.data), _LARGE_BYTES)
            self.bytes += len(item.data)
            self.objects[sha] = item

    @property
    def memory_bytes(self) -> int:
        """About how much memory it all takes."""
        return self.bytes

    def pack(self) -> Pack:
        """Return the pack of all of them; then call ``clear``, once it is safely written."""
        return encode_pack(self.objects, STORED, self._deltas)

    def clear(self) -> None:
        """Forget them."""
        self.objects.clear()
        self._deltas.clear()
        self.bytes = 0
