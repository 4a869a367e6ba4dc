"""Which large files of an entry are written as what differs from an earlier state, and how long such chains are."""

from __future__ import annotations

from collections.abc import Mapping

from memrepo_worker.git.deltas.encoding import DEPTH_MAX, WHOLE_BYTES_MAX, Delta, encode_delta
from memrepo_worker.git.objects import GitObject, Kind
from memrepo_worker.git.reader import Reader

_KNOWN_MAX = 1024


class DeltaChains:
    """The large files of one entry. ``depths`` is how many deltas those of earlier entries stand on, as far as known.

    A file of which that is not known, or that stands on as many as may be, is no base: what follows it is whole. So it
    is for the first change of each file after a repository was opened.
    """

    def __init__(self, depths: Mapping[str, int]) -> None:
        self._earlier = depths
        self.depths: dict[str, int] = {}
        self.deltas: dict[str, Delta] = {}
        self._bases: set[str] = set()

    def add(
        self,
        objects: Mapping[str, GitObject],
        bases: Mapping[str, str],
        there: Mapping[str, GitObject],
        reader: Reader,
    ) -> None:
        """Take in the files of a commit; ``there`` are the objects of the entry so far.

        Raises:
            ObjectMissingError: what a file follows from is not there, so the local copy is damaged.
        """
        for sha, item in objects.items():
            if item.kind is not Kind.BLOB or len(item.data) <= WHOLE_BYTES_MAX or sha in there:
                continue
            # What others of the entry follow from, and comes back, is whole: else they would follow from each other.
            base = None if sha in self._bases else bases.get(sha)
            delta = self._delta(sha, item.data, base, reader)
            self.depths[sha] = 0
            if delta is not None:
                self.depths[sha] = self._depth(delta.base) + 1
                self.deltas[sha] = delta
                self._bases.add(delta.base)

    def _delta(self, sha: str, data: bytes, base: str | None, reader: Reader) -> Delta | None:
        if base is None or base == sha or self._depth(base) >= DEPTH_MAX:
            return None
        if not WHOLE_BYTES_MAX < reader.size(base) <= 4 * len(data):
            return None
        encoded = encode_delta(reader.blob(base), data)
        return None if encoded is None else Delta(base, encoded)

    def _depth(self, sha: str) -> int:
        return self.depths.get(sha, self._earlier.get(sha, DEPTH_MAX))


def remember_depths(known: dict[str, int], new: Mapping[str, int]) -> None:
    """Add the depths of an entry's files to those that are known; the oldest are forgotten."""
    for sha, depth in new.items():
        known.pop(sha, None)
        known[sha] = depth
    for sha in list(known)[: max(0, len(known) - _KNOWN_MAX)]:
        del known[sha]
