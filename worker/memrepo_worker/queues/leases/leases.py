"""Which shards this process owns, as Redis keeps it: heartbeats, take-over and release, each one script.

``Leases`` says nothing of messages, and ``memrepo_worker.queues.transport.messages`` nothing of leases but the token
that proves one, so that messages could lie on another broker. As long as they lie on the same Redis, ``RedisLeases``
gives back what an owner had not acknowledged in the same step in which the lease changes hands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from redis import Redis, ResponseError

from memrepo.redis.errors import OTHER_TYPE, meaning_of
from memrepo.redis.script import Answer
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY, WITHDRAWN_KEY, WORKERS_KEY
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.leases.scripts import BEAT, REJOIN, RELEASE, TAKE, WITHDRAW
from memrepo_worker.queues.scripts import pairs, queues_of, shard_keys

Shard = TypeVar("Shard", int, OwnedShard)

_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class Overview:
    """What a heartbeat learns. ``owners`` has only shards whose owner's lease holds, ``expired`` the others' owners.

    ``longest_s`` is how much is left of the lease, or the life, that lasts longest, whosever it is.
    """

    lost: tuple[int, ...] = ()
    workers: tuple[str, ...] = ()
    owners: Mapping[int, str] = field(default_factory=dict)
    expired: Mapping[int, str] = field(default_factory=dict)
    longest_s: float = 0.0


class Leases(Protocol):
    """What keeps ownership: it speaks for one worker process, which is known by the tokens it was given."""

    @property
    def worker(self) -> str:
        """The name of the worker process."""
        ...

    @property
    def lease_s(self) -> float:
        """How long a lease lasts without a heartbeat."""
        ...

    def beat(self, owned_shards: Mapping[int, OwnedShard], *, shares: bool = True) -> Overview:
        """Prolong this worker's life and leases, and look around; ``shares``: others count on it to take its share."""
        ...

    def take(self, shards: Sequence[int], new_token: Callable[[], str]) -> dict[int, str]:
        """Take those of the shards that are free or whose lease is over; return their new tokens."""
        ...

    def release(self, owned_shards: Collection[OwnedShard], *, leaving: bool = False) -> None:
        """Give shards up; ``leaving`` takes the worker off the list, so that nobody counts on it any more."""
        ...

    def withdraw(self, reason: str) -> None:
        """Leave the list of workers, and tell people why; to be said again within a lease, until ``rejoin``."""
        ...

    def rejoin(self) -> None:
        """Tell people that it takes its share again."""
        ...

    def server_age_s(self) -> float:
        """Return how long ago the server that keeps the leases was started."""
        ...


@dataclass(frozen=True)
class RedisLeases:
    """Leases in Redis. Every method is one round trip and raises ``redis.RedisError``."""

    client: Redis
    worker: str
    lease_s: float
    agreed: Mapping[str, bytes | str] = field(default_factory=dict)
    """What all who use the broker have agreed on, by its key: each heartbeat records what the broker has lost of it."""

    def beat(self, owned_shards: Mapping[int, OwnedShard], *, shares: bool = True) -> Overview:
        """Prolong this worker's life and leases, and look around; ``shares``: others count on it to take its share."""
        held = pairs((shard, owned_shard.token) for shard, owned_shard in owned_shards.items())
        worker = self.worker if shares else ""
        keys = [OWNERS_KEY, LEASES_KEY, WORKERS_KEY, *self.agreed]
        answer = BEAT.run(self.client, keys, [worker, self._lease_ms, *self.agreed.values(), *held])
        lost, workers, owners, expired, longest_ms = answer
        late = frozenset(shard_numbers(expired))
        by_shard = {shard: worker for shard, (_, worker) in read_owners(owners).items()}
        return Overview(
            lost=tuple(int(shard) for shard in lost),
            workers=tuple(_text(worker) for worker in workers),
            owners={shard: worker for shard, worker in by_shard.items() if shard not in late},
            expired={shard: by_shard.get(shard, "nobody") for shard in late},
            longest_s=longest_ms / 1000,
        )

    def take(self, shards: Sequence[int], new_token: Callable[[], str]) -> dict[int, str]:
        """Take those of the shards that are free or whose lease is over; return their new tokens.

        What an earlier owner had not acknowledged goes back to the consuming end first, in order; and how many messages
        each agent has is counted anew where it does not add up.
        """
        tokens = {shard: new_token() for shard in shards}

        def take(some: Sequence[int]) -> list[int]:
            args = [self.worker, self._lease_ms, *pairs((shard, tokens[shard]) for shard in some)]
            keys = [OWNERS_KEY, LEASES_KEY, *(key for shard in some for key in shard_keys(shard))]
            return [int(shard) for shard in TAKE.run(self.client, keys, args)]

        return {shard: tokens[shard] for shard in _apart_if_odd(take, list(shards))}

    def release(self, owned_shards: Collection[OwnedShard], *, leaving: bool = False) -> None:
        """Give shards up: what is not acknowledged goes back, in order, and anybody may take them.

        ``leaving`` takes the worker off the list, so that nobody counts on it any more.
        """

        def release(some: Sequence[OwnedShard]) -> list[OwnedShard]:
            held = pairs((owned_shard.shard, owned_shard.token) for owned_shard in some)
            queues = queues_of([owned_shard.shard for owned_shard in some])
            keys = [OWNERS_KEY, LEASES_KEY, WORKERS_KEY, *queues]
            RELEASE.run(self.client, keys, [self.worker, int(leaving), *held])
            return list(some)

        _apart_if_odd(release, list(owned_shards))

    def withdraw(self, reason: str) -> None:
        """Leave the list of workers, and tell people why; to be said again within a lease, until ``rejoin``."""
        WITHDRAW.run(self.client, [WITHDRAWN_KEY, WORKERS_KEY], [self.worker, self._lease_ms, reason])

    def rejoin(self) -> None:
        """Tell people that it takes its share again."""
        REJOIN.run(self.client, [WITHDRAWN_KEY], [self.worker])

    def server_age_s(self) -> float:
        """Return how long ago the server was started: what it says of leases from before that may be old.

        It says a negative number where its clock was set back since; then that was long ago.
        """
        age_s = float(self.client.info("server")["uptime_in_seconds"])
        return age_s if age_s >= 0 else math.inf

    @property
    def _lease_ms(self) -> int:
        return int(self.lease_s * 1000)


def read_owners(flat: Answer) -> dict[int, tuple[str, str]]:
    """Return token and worker of each shard's owner record; whatever else lies there is passed over."""
    records_of = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    records = {
        shard: _text(record).partition(" ")
        for named, record in records_of
        for shard in shard_numbers([named])
    }
    return {shard: (token, worker) for shard, (token, _, worker) in records.items()}


def shard_numbers(names: Iterable[bytes | str]) -> Iterator[int]:
    """Yield the numbers of shards as the broker has them; what is none, which nobody of ours wrote, is passed over."""
    for name in names:
        text = _text(name)
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
            yield int(text)


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _apart_if_odd(run: Callable[[Sequence[Shard]], list[Shard]], shards: Sequence[Shard]) -> list[Shard]:
    """Run a step for all shards at once; for each alone, where a key of one of them holds something else.

    A step that is run again for a shard does nothing more. Raises what was met where no shard is left.
    """
    try:
        return run(shards)
    except ResponseError as error:
        if len(shards) < 2 or not meaning_of(error).is_(OTHER_TYPE):
            raise
        met = error
    done: list[Shard] = []
    for shard in shards:
        try:
            done += run([shard])
        except ResponseError as error:
            if not meaning_of(error).is_(OTHER_TYPE):
                raise
            met = error
    if not done:
        raise met
    return done
