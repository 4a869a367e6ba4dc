"""The files of a repository that were read or written last, in memory, in front of its packs.

What was committed lately waits in memory to be written; without this, a memory that is on disk would be read slower
than one that is new: 200 files of 2 KB in 1.2 ms instead of 0.7, and in 2.2 from the packs of 10,000 commits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import chain
from types import MappingProxyType

from memrepo.limits import MIB
from memrepo_worker.git.objects import GitObject, Kind
from memrepo_worker.git.packed.directory import Header, PackDirectory

_BYTES_MAX = 2 * MIB
_FILE_BYTES = 300  # of a file besides its content


class RecentFiles:
    """The objects of packs, of which the last files stay in memory, up to 2 MiB; one that is larger never does.

    ``waiting`` are objects that are in no pack yet: they are found here, too, after the files and before the packs.
    Trees and commits stay elsewhere, decoded. An object never changes and is never gone from the packs that it was
    found in, so what stays here is right as long as the repository is the same.
    """

    def __init__(
        self,
        packs: PackDirectory,
        bytes_max: int = _BYTES_MAX,
        waiting: Mapping[str, GitObject] = MappingProxyType({}),
    ) -> None:
        self._packs = packs
        self._waiting = waiting
        self._bytes_max = bytes_max
        self._files: OrderedDict[str, GitObject] = OrderedDict()
        self.memory_bytes = 0

    def find(self, sha: str) -> GitObject | None:
        """Return an object, or None when it is not here; a file stays in memory."""
        item = self._files.get(sha)
        if item is not None:
            self._files.move_to_end(sha)
            return item
        item = self._waiting.get(sha)
        if item is not None:
            return item
        item = self._packs.find(sha)
        if item is not None and item.kind is Kind.BLOB:
            self._keep(sha, item)
        return item

    def header(self, sha: str) -> Header | None:
        """Return an object's kind and size in bytes, or None when it is not here."""
        item = self._files.get(sha) or self._waiting.get(sha)
        return self._packs.header(sha) if item is None else (item.kind, len(item.data))

    def ids_beginning(self, digits: str) -> Iterator[str]:
        """Yield the ids that begin so; of the files that stay in memory each is in the packs, too."""
        waiting = [sha for sha in [*self._waiting] if sha.startswith(digits)]
        return chain(waiting, self._packs.ids_beginning(digits))

    def keep(self, objects: Mapping[str, GitObject]) -> None:
        """Keep the files among objects that were just written into a pack, given oldest first."""
        for sha, item in objects.items():
            if item.kind is Kind.BLOB:
                self._keep(sha, item)

    def forget(self) -> None:
        """Let all of them go from memory."""
        self._files.clear()
        self.memory_bytes = 0

    def _keep(self, sha: str, item: GitObject) -> None:
        size = _weigh(item)
        if size > self._bytes_max:
            return
        if sha not in self._files:
            self.memory_bytes += size
        self._files[sha] = item
        self._files.move_to_end(sha)
        while self.memory_bytes > self._bytes_max:
            self.memory_bytes -= _weigh(self._files.popitem(last=False)[1])


def _weigh(item: GitObject) -> int:
    return _FILE_BYTES + len(item.data)
