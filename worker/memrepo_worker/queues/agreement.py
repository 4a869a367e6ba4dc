"""The number of shards: recorded on the broker by the first worker, and the same for everybody after that."""

from __future__ import annotations

from redis import Redis

from memrepo.errors import InvalidRequestError

SHARDS_KEY = "memrepo:shards"


def agree_on_shards(broker: Redis, shards: int) -> None:
    """Record the number of shards if nobody has yet.

    Raises:
        InvalidRequestError: the broker's number is another one.
    """
    broker.set(SHARDS_KEY, shards, nx=True)
    check_shards(broker, shards)


def check_shards(broker: Redis, shards: int) -> None:
    """Compare the number of shards with the broker's, if it has one.

    Raises:
        InvalidRequestError: the broker's number is another one.
    """
    recorded = int(broker.get(SHARDS_KEY) or shards)
    if recorded != shards:
        raise InvalidRequestError.of(
            "MEMREPO_SHARDS",
            f"is {shards} here and {recorded} on this broker; to change it, empty all queues, stop all workers "
            f"and delete the key {SHARDS_KEY}",
            recorded=recorded,
        )
