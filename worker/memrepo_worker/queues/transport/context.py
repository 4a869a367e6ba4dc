"""What a worker process has of the shards, for its transport and its consumer."""

from __future__ import annotations

from collections.abc import Callable

from memrepo_worker.observe import Observer
from memrepo_worker.queues.leases.deliverable import Deliverable
from memrepo_worker.queues.leases.leases import Leases
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.queues.transport.messages import Messages, Refused, read_tag


class ShardContext:
    """What a worker process has of the shards: leases and messages on the broker, and which shards it owns.

    It acknowledges messages by their delivery tag, ``shard/number``, from any thread at any time.
    """

    def __init__(
        self, leases: Leases, messages: Messages, owned_shards: OwnedShards, observer: Observer
    ) -> None:
        self.deliverable = Deliverable()
        self.leases = leases
        self.messages = messages
        self.owned_shards = owned_shards
        self.observer = observer
        self.refuse: Callable[[Refused], None] = self._remove
        """What is done with a message that is no request; set by who can tell its sender. It never waits."""

    def _remove(self, refused: Refused) -> None:
        if refused.owned_shard is not None:
            self.messages.acknowledge(refused.owned_shard, {refused.number: ""})
            refused.owned_shard.delivered.discard(refused.number)

    def acknowledge(self, tag: str) -> None:
        """Remove a message for good, if its shard is still ours."""
        shard, number = read_tag(tag) or (-1, "")
        owned_shard = self.owned_shards.get(shard)
        if owned_shard is not None and number in owned_shard.delivered:
            # Forgotten first: should Redis be away, it is delivered again after that, and found to be settled.
            owned_shard.delivered.discard(number)
            self.messages.acknowledge(owned_shard, {number: ""})
