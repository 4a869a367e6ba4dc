from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from memrepo_worker.queues.leases.balance import plan

SHARDS = 64


def settle(owners: dict[int, str], workers: list[str], shards: int = SHARDS) -> tuple[dict[int, str], int]:
    """Let the workers act in turn until nobody moves; return who owns what and how many shards moved."""
    owners = {shard: worker for shard, worker in owners.items() if worker in workers}
    moves = 0
    for _ in range(10):
        before = dict(owners)
        for worker in workers:
            for shard in plan(worker, workers, owners, shards).give:
                del owners[shard]
                moves += 1
        for worker in workers:
            owners |= dict.fromkeys(plan(worker, workers, owners, shards).take, worker)
        if owners == before:
            return owners, moves
    raise AssertionError("the workers never rest")


def test_one_worker_takes_everything() -> None:
    assert plan("a", ["a"], {}, SHARDS).take == tuple(range(SHARDS))


def test_who_is_not_among_the_living_does_nothing() -> None:
    assert plan("a", ["b"], {1: "a"}, SHARDS).give == plan("a", ["b"], {}, SHARDS).take == ()


def test_what_is_being_given_up_is_not_given_up_again() -> None:
    owners = dict.fromkeys(range(SHARDS), "a")
    first = plan("a", ["a", "b"], owners, SHARDS).give
    assert len(first) == SHARDS // 2
    assert plan("a", ["a", "b"], owners, SHARDS, leaving=first).give == ()


@given(
    st.dictionaries(st.integers(0, SHARDS - 1), st.sampled_from("abcdefg")),
    st.sets(st.sampled_from("abcdefg"), min_size=1),
)
def test_shares_are_even_and_moves_are_what_the_change_needs(owners: dict[int, str], alive: set[str]) -> None:
    workers = sorted(alive)
    settled, moves = settle(owners, workers)

    counts = Counter(settled.values())
    assert len(settled) == SHARDS
    assert max(counts.values()) - min(counts[worker] for worker in workers) <= 1
    held = Counter(worker for worker in owners.values() if worker in alive)
    least, odd = divmod(SHARDS, len(workers))
    ranked = sorted((held[worker] for worker in workers), reverse=True)
    surplus = sum(max(0, count - (least + (rank < odd))) for rank, count in enumerate(ranked))
    assert moves == surplus
