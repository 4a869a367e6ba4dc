"""The shards that this process owns now, as all its threads see them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from memrepo_worker.group import Lease


@dataclass(eq=False)
class OwnedShard:
    """One uninterrupted ownership of one shard by this process. ``token`` is never used again."""

    shard: int
    token: str
    valid_until_s: float
    delivered: set[str] = field(default_factory=set)
    """Numbers of the messages that this process holds, from delivery to acknowledgement."""
    is_open: bool = True
    """Whether messages are still taken; once closed it stays closed."""
    delivering: threading.Lock = field(default_factory=threading.Lock)
    """Held while one message is on its way to the mailbox; whoever has it looks first whether the shard is open."""


NO_LEASE = Lease("", 0.0)
"""What somebody holds who owns nothing: it was never valid."""


class OwnedShards:
    """All shards that the process owns. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_shard: dict[int, OwnedShard] = {}

    def begin(self, shard: int, token: str, valid_until_s: float) -> OwnedShard:
        """Note that a shard was taken."""
        owned_shard = OwnedShard(shard, token, valid_until_s)
        with self._lock:
            self._by_shard[shard] = owned_shard
        return owned_shard

    def extend(self, shards: Iterable[int], valid_until_s: float) -> None:
        """Note a heartbeat."""
        with self._lock:
            for shard in shards:
                if shard in self._by_shard:
                    self._by_shard[shard].valid_until_s = valid_until_s

    def close(self, shards: Iterable[int]) -> None:
        """Take no further messages of these shards; what was delivered may still be acknowledged.

        When it returns, each message of theirs is in the mailbox or will not come there. It waits for one message of
        each shard at most, never for a whole round of deliveries: the heartbeat must not wait for the consumer.
        """
        with self._lock:
            closed = [self._by_shard[shard] for shard in shards if shard in self._by_shard]
        for owned_shard in closed:
            owned_shard.is_open = False
        for owned_shard in closed:
            with owned_shard.delivering:
                pass

    def end(self, shards: Iterable[int]) -> None:
        """Note that these shards are not ours any more."""
        with self._lock:
            for shard in shards:
                owned_shard = self._by_shard.pop(shard, None)
                if owned_shard is not None:
                    owned_shard.is_open = False

    def get(self, shard: int) -> OwnedShard | None:
        """Return a shard, if it is ours now."""
        return self._by_shard.get(shard)

    def all(self) -> Mapping[int, OwnedShard]:
        """Return all owned shards, open and closed, by shard."""
        with self._lock:
            return dict(self._by_shard)

    def lease(self, shard: int) -> Lease:
        """Return the lease that a group of this shard runs under."""
        owned_shard = self._by_shard.get(shard)
        return NO_LEASE if owned_shard is None else Lease(owned_shard.token, owned_shard.valid_until_s)
