"""The bytes of entries that this process has appended lately, so that joining them reads nothing from the store."""

from __future__ import annotations

import threading
from collections import OrderedDict

from memrepo.limits import KIB, MIB
from memrepo_worker.group import Agent

RECENT_BYTES_MAX = 16 * MIB

ENTRY_BYTES_MAX = 64 * KIB
"""A larger one is read again: that is one request, and in its room lie those of a dozen ordinary commits."""


class RecentEntries:
    """Keeps small entries that are in the store for good with just these bytes; the oldest go first. Thread-safe."""

    def __init__(self, bytes_max: int = RECENT_BYTES_MAX, entry_bytes_max: int = ENTRY_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._entry_bytes_max = entry_bytes_max
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[Agent, int], bytes] = OrderedDict()
        self._held = 0

    def keep(self, agent: Agent, seq: int, data: bytes) -> None:
        """Keep an entry whose create succeeded, if it is small."""
        if len(data) > self._entry_bytes_max:
            return
        with self._lock:
            self._held += len(data) - len(self._entries.pop((agent, seq), b""))
            self._entries[agent, seq] = data
            while self._held > self._bytes_max:
                self._held -= len(self._entries.popitem(last=False)[1])

    def find(self, agent: Agent, seq: int) -> bytes | None:
        """Return an entry, or None: read it from the store."""
        with self._lock:
            return self._entries.get((agent, seq))
