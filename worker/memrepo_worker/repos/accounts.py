"""What the repositories of a process take on disk and in memory, and whether that is too much."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from memrepo.clock import Clock
from memrepo.limits import MIB
from memrepo_worker.bounds import CacheLimits
from memrepo_worker.repos.slots import Others, Slot, Usage

_LOOK_S = 1.0

RECENT_BYTES_MAX = 16 * MIB
"""How much of their recent files the repositories of a process keep in memory together: of some 40 with 200 of 2 KB."""


class Accounts:
    """The bytes of each repository, known at every moment, in the order in which they were used.

    The limits are for all processes that share the cache folder. Any thread may call anything.
    """

    def __init__(self, slot: Slot, limits: CacheLimits, clock: Clock, on_disk: Mapping[str, int]) -> None:
        """Begin with what an earlier process left on disk, the least recently used first."""
        self._slot = slot
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._memory: dict[str, int] = {}
        self._recent: OrderedDict[str, int] = OrderedDict()
        self._disk = OrderedDict(on_disk)  # of all, in memory or not
        self._memory_bytes, self._recent_bytes, self._disk_bytes = 0, 0, sum(on_disk.values())
        self._others, self._looked_at_s = Others(Usage(), 0), -_LOOK_S

    @property
    def usage(self) -> Usage:
        """What this process keeps on disk."""
        with self._lock:
            return Usage(len(self._disk), self._disk_bytes)

    @property
    def is_given_back(self) -> bool:
        """Whether the slot was given back: what lies in it is another process's, or nobody's."""
        return self._slot.is_given_back

    @property
    def memory_bytes(self) -> int:
        """How much memory the repositories take that are in memory."""
        return self._memory_bytes

    def names(self) -> list[str]:
        """Return the names of all, the least recently used first."""
        with self._lock:
            return list(self._disk)

    def use(self, name: str) -> None:
        """Make one the most recently used; one that is new takes nothing yet."""
        with self._lock:
            self._disk.setdefault(name, 0)
            self._disk.move_to_end(name)

    def weigh(self, name: str, memory_bytes: int, disk_bytes: int, recent_bytes: int = 0) -> None:
        """Write down what a repository takes now; ``recent_bytes`` of its memory are recent files."""
        with self._lock:
            self._forget_recent(name)
            if recent_bytes:
                self._recent[name] = recent_bytes
                self._recent_bytes += recent_bytes
            self._memory_bytes += memory_bytes - self._memory.get(name, 0)
            self._disk_bytes += disk_bytes - self._disk.get(name, 0)
            self._memory[name], self._disk[name] = memory_bytes, disk_bytes

    def weigh_on_disk(self, name: str, disk_bytes: int) -> None:
        """Write down what one takes that is on disk alone."""
        with self._lock:
            self._disk_bytes += disk_bytes - self._disk.get(name, 0)
            self._disk[name] = disk_bytes

    def unload(self, name: str) -> None:
        """Write down that one is on disk alone."""
        with self._lock:
            self._memory_bytes -= self._memory.pop(name, 0)
            self._forget_recent(name)

    def forget(self, name: str) -> None:
        """Write down that one is gone."""
        with self._lock:
            self._memory_bytes -= self._memory.pop(name, 0)
            self._disk_bytes -= self._disk.pop(name, 0)
            self._forget_recent(name)

    def _forget_recent(self, name: str) -> None:
        self._recent_bytes -= self._recent.pop(name, 0)

    def names_with_recent_files(self) -> list[str]:
        """Return the names of those that keep recent files, the least recently used first."""
        with self._lock:
            return list(self._recent)

    def has_too_many_recent_files(self) -> bool:
        """Whether the repositories keep more of recent files than they may together."""
        return self._recent_bytes > RECENT_BYTES_MAX

    def has_too_much_in_memory(self) -> bool:
        """Whether the repositories in memory take more than they may."""
        return self._memory_bytes > self.limits.memory_bytes_max

    def keeps_too_much(self) -> bool:
        """Whether this process is to let one go from disk: all keep too much, and it more than its share.

        Before it says so, it removes what is left of processes that have ended, the oldest first, until that is enough.
        """
        own = self.usage
        if (own + self._look_around().usage).is_within(self.limits):
            return False
        self._slot.remove_abandoned(self._is_enough)
        others = self._look_around(age_s_max=0.0)
        if (own + others.usage).is_within(self.limits):
            return False
        return not own.times(1 + others.processes).is_within(self.limits)

    def _is_enough(self, gone: Usage) -> bool:
        there = self.usage + self._others.usage
        left = Usage(there.repos - gone.repos, there.disk_bytes - gone.disk_bytes)
        return left.is_within(self.limits)

    def _look_around(self, age_s_max: float = _LOOK_S) -> Others:
        """Return what other processes keep, as of a moment ago."""
        now_s = self._clock()
        if now_s - self._looked_at_s >= age_s_max:
            self._others, self._looked_at_s = self._slot.others(), now_s
        return self._others
