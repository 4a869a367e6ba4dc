"""How much of packs libgit2 keeps open, and mapped into memory, in this process: of all repositories together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pygit2

from memrepo.limits import KIB, MIB

_MAPPED_BYTES_MAX = 32 * MIB

# With 1 GiB, its default, a pack over that limit was mapped anew by every other look.
_WINDOW_BYTES = 128 * KIB

PASSING_BYTES_MAX = 4 * MIB
"""How much is mapped at most while somebody goes through a pack that is larger."""


class _Mapped:
    """How much may be mapped: as a rule, and while somebody goes through a large pack. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passing = 0
        self._usual_bytes = pygit2.settings.mwindow_mapped_limit

    def limit(self, usual_bytes: int) -> None:
        """Have so much be the rule."""
        with self._lock:
            self._usual_bytes = usual_bytes
            self._apply()

    def pass_through(self, more: int) -> None:
        """Note that so many more go through a pack, or with -1 one less."""
        with self._lock:
            self._passing += more
            self._apply()

    def _apply(self) -> None:
        usual = self._usual_bytes
        pygit2.settings.mwindow_mapped_limit = min(usual, PASSING_BYTES_MAX) if self._passing else usual


_mapped = _Mapped()


def limit_open_packs(packs_max: int, mapped_bytes_max: int = _MAPPED_BYTES_MAX) -> None:
    """Have libgit2 keep at most that many packs open, and about so much of them in memory, in this process.

    The least recently used go. Thousands of warm repositories fit neither under 1,024 open files nor into memory.
    """
    pygit2.settings.mwindow_file_limit = packs_max
    pygit2.settings.mwindow_size = _WINDOW_BYTES
    _mapped.limit(mapped_bytes_max)


@contextmanager
def passing_through(pack_bytes: int) -> Iterator[None]:
    """Within the block a pack of that size is gone through, once: what was passed does not stay mapped.

    Without this a large one fills all that may be mapped with what nobody comes back to. What others read meanwhile is
    mapped anew more often, which takes some microseconds each time.
    """
    if pack_bytes <= PASSING_BYTES_MAX:
        yield
        return
    _mapped.pass_through(1)
    try:
        yield
    finally:
        _mapped.pass_through(-1)
