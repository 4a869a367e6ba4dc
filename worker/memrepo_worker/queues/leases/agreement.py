"""What all that use one broker must have alike: recorded there by the first worker, and the same after that."""

from __future__ import annotations

from redis import Redis

from memrepo.errors import InvalidRequestError
from memrepo.wire.keys import NAMES_KEY, SHARDS_KEY


def claim_shard_count(broker: Redis, shards: int) -> None:
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


def agree_on_names(broker: Redis, portable_names: str) -> None:
    """Record which names of files are taken if nobody has yet.

    Raises:
        InvalidRequestError: the broker's rule is another one.
    """
    broker.set(NAMES_KEY, portable_names, nx=True)
    check_names(broker, portable_names)


def check_names(broker: Redis, portable_names: str) -> None:
    """Compare which names of files are taken with the broker's rule, if it has one.

    Raises:
        InvalidRequestError: it is another one, so that workers would refuse what is taken here, or the other way round.
    """
    found = broker.get(NAMES_KEY) or portable_names
    recorded = found.decode(errors="replace") if isinstance(found, bytes) else found
    if recorded != portable_names:
        raise InvalidRequestError.of(
            "MEMREPO_PORTABLE_NAMES",
            f"is {portable_names} here and {recorded} on this broker; to change it, stop all producers and workers "
            f"and delete the key {NAMES_KEY}",
            recorded=recorded,
        )
