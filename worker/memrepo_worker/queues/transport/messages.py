"""The messages of shards, as Redis keeps them: delivered and acknowledged under the token of a lease.

``pop`` delivers, ``acknowledge`` removes; what was delivered and not acknowledged goes back, in order, when its shard
changes hands (see ``memrepo_worker.queues.leases.leases``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

from redis import Redis

from memrepo.limits import KIB, MIB
from memrepo.redis.script import ScriptRunner
from memrepo.routing import QUEUE_PREFIX, queue_name
from memrepo.wire.keys import OWNERS_KEY, REPLIES_PREFIX, SEQUENCE_KEY, unacked_key
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.scripts import pairs, queues_of, settled, shard_keys
from memrepo_worker.queues.transport.scripts import ACKNOWLEDGE, MISSING, POP

MESSAGE_BYTES_MAX = 2 * MIB
"""What a message may have: several times the longest JSON of a request that needs no body (``LARGE_BYTES``)."""

HEAD_BYTES_MAX = 64 * KIB
"""What a message may have besides its body: it is kept as long as the request waits, and counts as nothing."""

_TAG = re.compile(r"([0-9]{1,9})/(.*)", re.DOTALL)
TEXT_CHARS_MAX = 255
"""What an id or the name of a channel may have."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it lay in the queue, and the number under which it is kept until it is acknowledged."""

    number: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Popped:
    """What one pop brought of one shard; ``remaining`` messages were left in the queue."""

    owned: bool
    remaining: int
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that is no request. ``shape`` says of it what logs may say, ``task_id`` is empty where it names no job.

    ``owned_shard`` and ``number`` say where it is to be removed; None: nowhere.
    """

    shape: str
    owned_shard: OwnedShard | None
    number: str
    task_id: str = ""
    task_name: str = "unknown"
    reply_to: str = ""
    size_bytes: int = 0


class Messages(Protocol):
    """What is done with messages that were delivered, under a lease's token: with another owner's nothing happens."""

    def missing(self, owned_shard: OwnedShard) -> list[Delivery]:
        """Return what was delivered under this lease, but never came to us, oldest first."""
        ...

    def acknowledge(self, owned_shard: OwnedShard, numbers: Mapping[str, str]) -> bool:
        """Remove messages for good; return False if the shard has another owner by now.

        ``numbers`` says of each whose it is, so that it counts for that agent no longer ("" = unknown).
        """
        ...


@dataclass(frozen=True)
class RedisMessages:
    """Messages in Redis. Every method is one round trip and raises ``redis.RedisError``."""

    client: Redis

    def missing(self, owned_shard: OwnedShard) -> list[Delivery]:
        """Return what was delivered under this lease, but never came to us, oldest first."""
        known = list(owned_shard.delivered)
        answer = MISSING.run(
            self.client,
            [OWNERS_KEY, unacked_key(queue_name(owned_shard.shard))],
            [owned_shard.shard, owned_shard.token, *known],
        )
        return sorted(_deliveries(answer), key=lambda delivery: int(delivery.number))

    def acknowledge(self, owned_shard: OwnedShard, numbers: Mapping[str, str]) -> bool:
        """Remove messages for good; return False if the shard has another owner by now."""
        keys = [OWNERS_KEY, *shard_keys(owned_shard.shard)]
        args = [owned_shard.shard, owned_shard.token, *settled(numbers)]
        return bool(ACKNOWLEDGE.run(self.client, keys, args))


def pop(
    runner: ScriptRunner, owned_shards: Sequence[OwnedShard], *, messages_max: int, bytes_max: int
) -> list[Popped]:
    """Deliver messages, oldest first; return for each shard in order what came of it.

    ``messages_max`` is of each shard, so that a deep queue keeps no other waiting; ``bytes_max`` is of all. Of a
    message over ``MESSAGE_BYTES_MAX`` only the end comes.
    """
    keys = [OWNERS_KEY, SEQUENCE_KEY, *queues_of([owned_shard.shard for owned_shard in owned_shards])]
    held = pairs((owned_shard.shard, owned_shard.token) for owned_shard in owned_shards)
    answer = POP.run(runner, keys, [messages_max, bytes_max, MESSAGE_BYTES_MAX, *held])
    return [Popped(bool(owned), left, tuple(_deliveries(flat))) for owned, left, flat in answer]


def shard_of_queue(queue: str) -> int | None:
    """Return the shard that a queue belongs to, or None if it is no shard's."""
    number = queue.removeprefix(QUEUE_PREFIX)
    return int(number) if number != queue and number.isdigit() else None


def tag_of(shard: int, number: str) -> str:
    """Return the delivery tag of a shard's message."""
    return f"{shard}/{number}"


def read_tag(tag: object) -> tuple[int, str] | None:
    """Return shard and number of a delivery tag, or None if it is not one of ours."""
    match = _TAG.fullmatch(tag) if isinstance(tag, str) else None
    return (int(match[1]), match[2]) if match else None


def reply_channel(reply_to: object) -> str | None:
    """Return the channel on which a message wants its job told, if it is one for replies.

    On others anybody who reaches the broker could have us speak: to workers, say. And what our user may not publish
    on would be tried for ever, as a result that must not be lost.
    """
    return reply_to if is_text(reply_to, TEXT_CHARS_MAX) and reply_to.startswith(REPLIES_PREFIX) else None


def is_text(value: object, chars_max: int) -> TypeGuard[str]:
    """Tell whether it is a short text that can be sent: JSON may hold halves of characters."""
    if not isinstance(value, str) or not 0 < len(value) <= chars_max:
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _deliveries(flat: Sequence[bytes]) -> list[Delivery]:
    return [Delivery(number.decode(), raw) for number, raw in zip(flat[::2], flat[1::2], strict=True)]
