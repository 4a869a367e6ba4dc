"""The shard queues on the broker: every step of ownership and delivery, each one script."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redis import Redis

from memrepo.limits import MIB
from memrepo.redis.script import Answer, Argument, ScriptRunner
from memrepo.routing import QUEUE_PREFIX, queue_name
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY, SEQUENCE_KEY, WORKERS_KEY, unacked_key
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.leases.scripts import ACKNOWLEDGE, BEAT, MISSING, POP, RELEASE, TAKE

MESSAGE_BYTES_MAX = 2 * MIB
"""What a message may have: several times the longest JSON of a request that needs no body (``LARGE_BYTES``)."""


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
class Overview:
    """What a heartbeat learns. ``owners`` has only shards whose owner's lease holds, ``expired`` the others' owners."""

    lost: tuple[int, ...] = ()
    workers: tuple[str, ...] = ()
    owners: Mapping[int, str] = field(default_factory=dict)
    expired: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shards:
    """Speaks for one worker process. Every method is one round trip and raises ``redis.RedisError``."""

    client: Redis
    worker: str
    lease_s: float

    def beat(self, owned_shards: Mapping[int, OwnedShard]) -> Overview:
        """Prolong this worker's life and leases, and look around."""
        held = _pairs((shard, owned_shard.token) for shard, owned_shard in owned_shards.items())
        answer = BEAT.run(
            self.client, [OWNERS_KEY, LEASES_KEY, WORKERS_KEY], [self.worker, self._lease_ms, *held]
        )
        lost, workers, owners, expired = answer
        late = frozenset(int(shard) for shard in expired)
        by_shard = {shard: worker for shard, (_, worker) in read_owners(owners).items()}
        return Overview(
            lost=tuple(int(shard) for shard in lost),
            workers=tuple(_text(worker) for worker in workers),
            owners={shard: worker for shard, worker in by_shard.items() if shard not in late},
            expired={shard: by_shard.get(shard, "nobody") for shard in late},
        )

    def take(self, shards: Sequence[int], new_token: Callable[[], str]) -> dict[int, str]:
        """Take those of the shards that are free or whose lease is over; return their new tokens.

        What an earlier owner had not acknowledged goes back to the consuming end first, in order.
        """
        tokens = {shard: new_token() for shard in shards}
        args = [self.worker, self._lease_ms, *_pairs(tokens.items())]
        answer = TAKE.run(self.client, [OWNERS_KEY, LEASES_KEY, *_queues(shards)], args)
        return {int(shard): tokens[int(shard)] for shard in answer}

    def release(self, owned_shards: Collection[OwnedShard], *, leaving: bool = False) -> None:
        """Give shards up: what is not acknowledged goes back, in order, and anybody may take them.

        ``leaving`` takes the worker off the list, so that nobody counts on it any more.
        """
        held = _pairs((owned_shard.shard, owned_shard.token) for owned_shard in owned_shards)
        keys = [
            OWNERS_KEY,
            LEASES_KEY,
            WORKERS_KEY,
            *_queues([owned_shard.shard for owned_shard in owned_shards]),
        ]
        RELEASE.run(self.client, keys, [self.worker, int(leaving), *held])

    def missing(self, owned_shard: OwnedShard) -> list[Delivery]:
        """Return what was delivered under this lease, but never came to us, oldest first."""
        known = list(owned_shard.delivered)
        answer = MISSING.run(
            self.client,
            [OWNERS_KEY, unacked_key(queue_name(owned_shard.shard))],
            [owned_shard.shard, owned_shard.token, *known],
        )
        return sorted(_deliveries(answer), key=lambda delivery: int(delivery.number))

    def acknowledge(self, owned_shard: OwnedShard, numbers: Sequence[str]) -> bool:
        """Remove messages for good; return False if the shard has another owner by now."""
        keys = [OWNERS_KEY, unacked_key(queue_name(owned_shard.shard))]
        return bool(ACKNOWLEDGE.run(self.client, keys, [owned_shard.shard, owned_shard.token, *numbers]))

    @property
    def _lease_ms(self) -> int:
        return int(self.lease_s * 1000)


def pop(
    runner: ScriptRunner, owned_shards: Sequence[OwnedShard], *, messages_max: int, bytes_max: int
) -> list[Popped]:
    """Deliver messages, oldest first; return for each shard in order what came of it.

    ``messages_max`` is of each shard, so that a deep queue keeps no other waiting; ``bytes_max`` is of all. Of a
    message over ``MESSAGE_BYTES_MAX`` only the end comes.
    """
    keys = [OWNERS_KEY, SEQUENCE_KEY, *_queues([owned_shard.shard for owned_shard in owned_shards])]
    held = _pairs((owned_shard.shard, owned_shard.token) for owned_shard in owned_shards)
    answer = POP.run(runner, keys, [messages_max, bytes_max, MESSAGE_BYTES_MAX, *held])
    return [Popped(bool(owned), left, tuple(_deliveries(flat))) for owned, left, flat in answer]


def read_owners(flat: Answer) -> dict[int, tuple[str, str]]:
    """Return token and worker of each shard's owner record."""
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    records = {int(shard): _text(record).partition(" ") for shard, record in pairs}
    return {shard: (token, worker) for shard, (token, _, worker) in records.items()}


def shard_of_queue(queue: str) -> int | None:
    """Return the shard that a queue belongs to, or None if it is no shard's."""
    number = queue.removeprefix(QUEUE_PREFIX)
    return int(number) if number != queue and number.isdigit() else None


def tag_of(shard: int, number: str) -> str:
    """Return the delivery tag of a shard's message."""
    return f"{shard}/{number}"


def read_tag(tag: object) -> tuple[int, str] | None:
    """Return shard and number of a delivery tag, or None if it is not one of ours."""
    shard, slash, number = tag.partition("/") if isinstance(tag, str) else ("", "", "")
    return (int(shard), number) if slash and shard.isdigit() else None


def _queues(shards: Sequence[int]) -> list[Argument]:
    return [key for shard in shards for key in (queue_name(shard), unacked_key(queue_name(shard)))]


def _pairs(items: Iterable[tuple[Argument, Argument]]) -> list[Argument]:
    return [part for pair in items for part in pair]


def _deliveries(flat: Sequence[bytes]) -> list[Delivery]:
    return [Delivery(_text(number), raw) for number, raw in zip(flat[::2], flat[1::2], strict=True)]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
