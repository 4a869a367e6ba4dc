"""Which queue serves an agent: a pure function that producers and workers must agree on.

The number of shards is recorded in Redis by the first worker; changing the hash or the number moves
agents between queues and may only be done with all queues empty.
"""

from __future__ import annotations

import hashlib

QUEUE_PREFIX = "memrepo."
SHARDS_DEFAULT = 64


def shard_of(org_id: str, agent_id: str, shards: int = SHARDS_DEFAULT) -> int:
    """Return the shard (0 to ``shards`` - 1) that serializes this agent's requests."""
    digest = hashlib.blake2b(f"{org_id}\0{agent_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % shards


def queue_name(shard: int) -> str:
    """Return the name of a shard's queue, such as ``memrepo.000``."""
    return f"{QUEUE_PREFIX}{shard:03d}"


def queue_names(shards: int = SHARDS_DEFAULT) -> list[str]:
    """Return the names of all shard queues, in order."""
    return [queue_name(shard) for shard in range(shards)]


def route(org_id: str, agent_id: str, shards: int = SHARDS_DEFAULT) -> str:
    """Return the name of the one queue that carries this agent's requests."""
    return queue_name(shard_of(org_id, agent_id, shards))
