"""Memory that was freed, and is kept for later by C's library: how much of it a process keeps, where that is glibc.

glibc gives each thread a heap of its own, up to eight for each processor, and what was freed in one serves no thread of
another. Nearly all of our threads compute under Python's lock, one at a time, so many heaps make nothing quicker; but
after large commits each keeps what the largest of them took. And a buffer of megabytes, once freed, has glibc take
later ones from heaps, too, in which whatever small is behind them keeps them from the system.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

from memrepo.limits import MIB

HEAPS_MAX = 2
"""How many heaps all threads of a process share."""

MAPPED_BYTES_MIN = MIB
"""What has as much is memory of its own, and the system's again as soon as it is freed. Small commits have none."""

_KEPT_BYTES_MAX = (
    4 * MIB
)  # at the end of a heap; as glibc's own bounds grow with what is mapped, it needs one of ours

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_USUAL = {_ARENA_MAX: HEAPS_MAX, _MMAP_THRESHOLD: MAPPED_BYTES_MIN, _TRIM_THRESHOLD: _KEPT_BYTES_MAX}
_VARIABLES = ("MALLOC_", "GLIBC_TUNABLES")


def keep_little(environment: Mapping[str, str]) -> bool:
    """Have this process keep little of what it frees, from here on; return whether it is asked of C's library.

    Threads that have a heap by now keep that. Elsewhere than with glibc, and where the environment tells glibc itself
    what to do, nothing happens.
    """
    if any(name.startswith(_VARIABLES) for name in environment):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    asked = [library.mallopt(name, value) for name, value in _USUAL.items()]
    return all(asked)
