"""Which commits changed a path, where that was asked before.

Git takes a process for it, and longer for commits that lie far apart than for those of a new memory; and it sees only
what is on disk, so that what waits in memory has to be written first. What git once said of a commit's history stays
right: only what was committed since is looked at here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from memrepo.limits import KIB
from memrepo_worker.git.reader import ObjectRefusedError, Reader
from memrepo_worker.git.walk import entry_at

_SINCE_MAX = 32
"""How many new commits are looked at: some 20 us each, and git takes 3 ms."""

_SHAS_MAX = 500
_BYTES_MAX = 64 * KIB
_SHA_BYTES = 100
_PATH_BYTES = 300  # of a path besides its commits


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest commits in the history of ``start`` that changed a path; ``are_all`` where there are no more."""

    start: str
    shas: Sequence[str]
    are_all: bool


class KnownHistories:
    """The last histories of paths that were asked of one repository, up to 64 KiB of them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.memory_bytes = 0

    def find(self, start: str, path: str, count_max: int | None) -> Sequence[str] | None:
        """Return the newest commits reachable from ``start`` that changed a path, as git would list them.

        None where git has to be asked: nothing is known of the path, ``start`` does not follow in one line on what is
        known, or is too far from it, or more commits are wanted than are known. Nor is more refused than git refuses,
        which looks at fewer of their folders: it is asked where one of them may not be read.
        """
        known = self._known.get(path)
        try:
            since = None if known is None else self._changed_since(known.start, start, path)
        except ObjectRefusedError:
            return None
        if known is None or since is None:
            return None
        found = [*since, *known.shas]
        if not known.are_all and (count_max is None or len(found) < count_max):
            return None
        self._remember(path, _Known(start, found[:_SHAS_MAX], known.are_all and len(found) <= _SHAS_MAX))
        return found[:count_max]

    def keep(self, start: str, path: str, count_max: int | None, shas: Sequence[str]) -> None:
        """Keep what git has listed, where it is not too much."""
        are_all = count_max is None or len(shas) < count_max
        self._remember(path, _Known(start, shas[:_SHAS_MAX], are_all and len(shas) <= _SHAS_MAX))

    def _changed_since(self, known: str, start: str, path: str) -> list[str] | None:
        """Return which of the commits after a known one changed a path; None where they are no line, or too many."""
        reader, sha, changed = self._reader, start, list[str]()
        for _ in range(_SINCE_MAX):
            if sha == known:
                return changed
            reader.walked()
            commit = reader.commit(sha)
            if len(commit.parents) != 1:
                return None
            (parent,) = commit.parents
            before = entry_at(reader, reader.commit(parent).tree, path)
            if entry_at(reader, commit.tree, path) != before:
                changed.append(sha)
            sha = parent
        return changed if sha == known else None

    def _remember(self, path: str, known: _Known) -> None:
        self._forget(path)
        self._known[path] = known
        self.memory_bytes += _weigh(path, known)
        while self.memory_bytes > _BYTES_MAX:
            self._forget(next(iter(self._known)))

    def _forget(self, path: str) -> None:
        known = self._known.pop(path, None)
        if known is not None:
            self.memory_bytes -= _weigh(path, known)


def _weigh(path: str, known: _Known) -> int:
    return _PATH_BYTES + len(path) + _SHA_BYTES * len(known.shas)
