"""What several scripts of the queues begin with, and the forms of their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from memrepo.redis.script import Argument, lua
from memrepo.routing import queue_name
from memrepo.wire.keys import depths_key, unacked_key

OWNED = lua(__package__, "owned")
"""The fence: whether a token is the present owner's. Put before the scripts that need it."""

CLOCK = lua(__package__, "clock")
"""The time by Redis' own clock, as ``now_us`` and ``now_ms``."""

ON_FULL = lua(__package__, "on_full")
"""Has a server take a script though its memory is full. Put before the scripts by which a worker drains queues."""


AGENT_OF = lua(__package__, "agent_of")
"""Whose request a message says it is. Put before the scripts that count them."""

SETTLE = AGENT_OF + lua(__package__, "settle")
"""Removes messages and counts them no longer. Put before the scripts that settle requests."""


def queues_of(shards: Sequence[int]) -> list[Argument]:
    """Return the keys of each shard: its queue, and its messages that are not acknowledged."""
    return [key for shard in shards for key in (queue_name(shard), unacked_key(queue_name(shard)))]


def shard_keys(shard: int) -> list[Argument]:
    """Return all keys of a shard: queue, unacknowledged messages, and how many of each agent."""
    queue = queue_name(shard)
    return [queue, unacked_key(queue), depths_key(queue)]


def settled(numbers: Mapping[str, str]) -> list[Argument]:
    """Return messages that are settled as a script takes them: how many, then number and agent of each."""
    return [len(numbers), *pairs(numbers.items())]


def pairs(items: Iterable[tuple[Argument, Argument]]) -> list[Argument]:
    """Return shards and tokens as a script takes them: one after the other."""
    return [part for pair in items for part in pair]
