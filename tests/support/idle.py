"""Whether a broker that tests share is as each of them may expect it: nothing waits, nothing is under way."""

from __future__ import annotations

import redis

from memrepo.routing import SHARDS_DEFAULT
from memrepo.wire.keys import OWNERS_KEY


def requests_left(client: redis.Redis) -> list[str]:
    """Return the keys of what waits in a queue, or is being served: an empty one is no key."""
    return [str(key) for pattern in ("memrepo.[0-9]*", "memrepo:unacked:*") for key in client.keys(pattern)]


def is_idle(client: redis.Redis) -> bool:
    """Tell whether nothing is left to do, and one worker owns every shard."""
    owners = [str(record).partition(" ")[2] for record in client.hvals(OWNERS_KEY)]
    return len(owners) == SHARDS_DEFAULT and len(set(owners)) == 1 and not requests_left(client)
