"""Who should own how many shards: even shares with as few moves as possible. Pure; every worker computes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker does next: shards to take, which nobody owns, and shards to give up."""

    take: tuple[int, ...] = ()
    give: tuple[int, ...] = ()


def plan(
    me: str, workers: Collection[str], owners: Mapping[int, str], shards: int, leaving: Collection[int] = ()
) -> Plan:
    """Plan one worker's moves from what all workers can see.

    ``owners`` has the shards whose owner's lease holds; a shard that is not in it is free. ``leaving`` are shards
    that this worker is giving up already. Whoever owns most keeps the odd ones. Free shards are dealt out in one
    order that is the same for all, so that two workers seldom reach for the same one.
    """
    held = {worker: sorted(s for s, owner in owners.items() if owner == worker) for worker in workers}
    shares = _shares(held, shards)
    if me not in shares:
        return Plan()
    surplus = len(held[me]) - len(leaving) - shares[me]
    if surplus > 0:
        staying = [shard for shard in held[me] if shard not in leaving]
        return Plan(give=tuple(staying[-surplus:]))
    free = [shard for shard in range(shards) if shard not in owners]
    for worker in sorted(shares):
        wanted = max(0, shares[worker] - len(held[worker]))
        if worker == me:
            return Plan(take=tuple(free[:wanted]))
        free = free[wanted:]
    return Plan()


def _shares(held: Mapping[str, Collection[int]], shards: int) -> dict[str, int]:
    if not held:
        return {}
    least, odd = divmod(shards, len(held))
    ranked = sorted(held, key=lambda worker: (-len(held[worker]), worker))
    return {worker: least + (rank < odd) for rank, worker in enumerate(ranked)}
