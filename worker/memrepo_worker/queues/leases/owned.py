"""The shards that this process owns now, as all its threads see them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from memrepo_worker.group import Lease


@dataclass(eq=False)
class Tenure:
    """One uninterrupted ownership of one shard by this process. ``token`` is never used again."""

    shard: int
    token: str
    valid_until_s: float
    delivered: set[str] = field(default_factory=set)
    """Numbers of the messages that this process holds, from delivery to acknowledgement."""
    is_open: bool = True
    """Whether messages are still taken; once closed it stays closed."""


NO_LEASE = Lease("", 0.0)
"""What somebody holds who owns nothing: it was never valid."""


class Tenures:
    """All tenures of the process. Thread-safe."""

    def __init__(self) -> None:
        self.delivering = threading.Lock()
        """Held while messages are on their way from a queue to the mailbox: closing waits for it."""
        self._lock = threading.Lock()
        self._by_shard: dict[int, Tenure] = {}

    def begin(self, shard: int, token: str, valid_until_s: float) -> Tenure:
        """Note that a shard was taken."""
        tenure = Tenure(shard, token, valid_until_s)
        with self._lock:
            self._by_shard[shard] = tenure
        return tenure

    def extend(self, shards: Iterable[int], valid_until_s: float) -> None:
        """Note a heartbeat."""
        with self._lock:
            for shard in shards:
                if shard in self._by_shard:
                    self._by_shard[shard].valid_until_s = valid_until_s

    def close(self, shards: Iterable[int]) -> None:
        """Take no further messages of these shards; what was delivered may still be acknowledged."""
        with self.delivering, self._lock:
            for shard in shards:
                if shard in self._by_shard:
                    self._by_shard[shard].is_open = False

    def end(self, shards: Iterable[int]) -> None:
        """Note that these shards are not ours any more."""
        with self._lock:
            for shard in shards:
                tenure = self._by_shard.pop(shard, None)
                if tenure is not None:
                    tenure.is_open = False

    def get(self, shard: int) -> Tenure | None:
        """Return the present tenure of a shard."""
        return self._by_shard.get(shard)

    def all(self) -> Mapping[int, Tenure]:
        """Return all tenures, open and closed, by shard."""
        with self._lock:
            return dict(self._by_shard)

    def lease(self, shard: int) -> Lease:
        """Return the lease that a group of this shard runs under."""
        tenure = self._by_shard.get(shard)
        return NO_LEASE if tenure is None else Lease(tenure.token, tenure.valid_until_s)
