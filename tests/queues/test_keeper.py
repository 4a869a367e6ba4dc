from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from memrepo.routing import queue_name
from memrepo.wire.keys import LEASES_KEY, OWNERS_KEY, WORKERS_KEY, unacked_key
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.keeper import Keeper
from memrepo_worker.queues.leases.leases import Overview, RedisLeases
from memrepo_worker.queues.leases.owned import OwnedShards
from memrepo_worker.queues.leases.status import read_shards
from tests.support.jobs import present
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

SHARDS = 8


@dataclass
class Hands:
    """Stands in for the mailbox: ``busy`` shards have a request running."""

    busy: set[int] = field(default_factory=set)
    let_go: list[int] = field(default_factory=list)
    changes: int = 0

    def hand_over(self, shards: Collection[int]) -> None:
        self.let_go += shards

    def is_clear(self, shard: int) -> bool:
        return shard not in self.busy

    def changed(self) -> None:
        self.changes += 1


_NUMBERS = count()


def hands(one: Keeper) -> Hands:
    assert isinstance(one.holder, Hands)
    return one.holder


def keeper(server: Valkey, name: str, lease_s: float) -> Keeper:
    leases = RedisLeases(redis.Redis(port=server.port), name, lease_s)
    return Keeper(leases, OwnedShards(), Hands(), SHARDS, lambda: f"token-{next(_NUMBERS)}", Counters())


def owned(one: Keeper) -> set[int]:
    return set(one.owned_shards.all())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey", fsync="always") as running:
        yield running


def test_a_shard_is_released_only_when_nothing_of_it_runs(server: Valkey) -> None:
    first, second = keeper(server, "first", 60), keeper(server, "second", 60)
    first.beat()
    hands(first).busy = {4}
    second.beat()

    first.beat()
    second.beat()

    assert hands(first).let_go == [4, 5, 6, 7]
    assert (owned(first), owned(second)) == ({0, 1, 2, 3, 4}, {5, 6, 7})
    assert not present(first.owned_shards.get(4)).is_open

    hands(first).busy = set()
    first.beat()
    second.beat()
    assert (owned(first), owned(second)) == ({0, 1, 2, 3}, {4, 5, 6, 7})


def test_a_lost_shard_is_handed_over_behind_the_message_that_is_on_its_way(server: Valkey) -> None:
    one = keeper(server, "one", 60)
    one.beat()
    lost = present(one.owned_shards.get(3))
    one.leases.release([lost])  # as if its lease had run out, and another had taken it
    beating = threading.Thread(target=one.beat)

    with lost.delivering:
        beating.start()
        wait_for(lambda: not lost.is_open, "the loss to be noticed")
        beating.join(0.3)
        assert hands(one).let_go == []
    beating.join(10)
    assert hands(one).let_go == [3]


def test_rights_are_asked_for_behind_what_prolongs_the_leases(server: Valkey) -> None:
    one = keeper(server, "one", 60)
    told: list[str] = []
    leases = one.leases

    class Told:
        """Leases that tell when they were prolonged."""

        def beat(self, *args: Any, **options: Any) -> Overview:
            told.append("prolonged")
            return leases.beat(*args, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(leases, name)

    one.leases, one.ask_rights = Told(), lambda: told.append("asked")
    one.monotonic = iter(float(second) for second in range(0, 10_000, 61)).__next__
    one.beat()
    assert told[:2] == ["asked", "prolonged"], "before the first shard is taken"
    told.clear()

    one.beat()
    assert told == ["prolonged", "asked"]


def test_what_is_no_shard_and_no_message_keeps_nobody_from_owning_and_giving(server: Valkey) -> None:
    first, second = keeper(server, "first", 60), keeper(server, "second", 60)
    with server.client() as client:
        client.hset(
            OWNERS_KEY, mapping={"x": "token someone", "\udcff".encode(errors="surrogateescape"): b"\xff"}
        )
        client.zadd(LEASES_KEY, {"x": 1, "9" * 30: 1})
        client.zadd(WORKERS_KEY, {b"\xff": 1})
        for shard in range(SHARDS):
            client.hset(unacked_key(queue_name(shard)), mapping={"x": "what is no message", "7": "a message"})

        first.beat()
        second.beat()
        first.beat()
        second.beat()

        assert (owned(first), owned(second)) == ({0, 1, 2, 3}, {4, 5, 6, 7})
        client.hset(unacked_key(queue_name(0)), mapping={"x": "what is no message", "7": "a message"})
        assert [status.owner for status in read_shards(server.raw_client(), SHARDS)] == 4 * ["first"] + 4 * [
            "second"
        ]


def test_every_lease_has_a_token_of_its_own(server: Valkey) -> None:
    one = keeper(server, "one", 60)
    one.beat()
    before = {owned_shard.token for owned_shard in one.owned_shards.all().values()}
    one.leave()
    one.beat()
    after = {owned_shard.token for owned_shard in one.owned_shards.all().values()}

    assert len(before | after) == 2 * SHARDS


def test_a_lease_that_ran_out_while_the_broker_was_away_is_not_taken_from_the_living(server: Valkey) -> None:
    lease_s = 2.5
    first, second = keeper(server, "first", lease_s), keeper(server, "second", lease_s)
    first.beat()
    second.beat()
    first.beat()
    second.beat()
    before = owned(first)

    server.kill()
    wait_for(_after(lease_s), "the leases to run out")
    server.start()
    second.beat()
    first.beat()
    second.beat()

    assert (owned(first), owned(second)) == (before, set(range(SHARDS)) - before)


def test_a_lease_that_ran_out_while_the_broker_was_silent_is_not_taken_from_the_living(
    server: Valkey,
) -> None:
    lease_s = 2.5
    first, second = keeper(server, "first", lease_s), keeper(server, "second", lease_s)
    for one in (first, second, first, second):
        one.beat()
    before = owned(first)

    server.freeze()  # as a failover is for its clients; the server that they find then has run for long
    wait_for(_after(lease_s), "the leases to run out")
    server.thaw()
    for one in (second, first, second):
        one.beat()
    assert (owned(first), owned(second)) == (before, set(range(SHARDS)) - before)

    def all_are_seconds() -> bool:
        second.beat()
        return owned(second) == set(range(SHARDS))

    wait_for(all_are_seconds, "the shards of one who does not come back to be taken", every_s=0.1)


def test_a_dead_workers_shards_are_taken_when_its_lease_is_over(server: Valkey) -> None:
    dead, living = keeper(server, "dead", 0.5), keeper(server, "living", 0.5)
    dead.beat()
    living.beat()
    assert owned(living) == set()

    def taken() -> set[int]:
        living.beat()
        return owned(living)

    wait_for(taken, "the lease to be over", every_s=0.1)
    dead.beat()

    assert owned(living) == set(range(SHARDS))
    assert owned(dead) == set()
    assert sorted(hands(dead).let_go) == list(range(SHARDS))


def test_a_heartbeat_that_fails_by_a_fault_of_ours_is_told_once_with_its_place_and_when_it_is_over(
    server: Valkey, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = keeper(server, "one", 60)
    with monkeypatch.context() as broken:
        broken.setattr("memrepo_worker.queues.leases.keeper.plan", lambda *_, **__: 1 / 0)
        for _ in range(3):
            one.beat()
    one.beat()

    faults = [record for record in caplog.records if "heartbeat" in record.getMessage()]
    assert [record.__dict__["event"] for record in faults] == ["heartbeat.fault", "heartbeat.fault.over"]
    assert [record.levelname for record in faults] == ["ERROR", "ERROR"]
    assert faults[0].exc_info is not None
    assert faults[0].exc_info[0] is ZeroDivisionError
    assert owned(one) == set(range(SHARDS))


def test_another_workers_longer_lease_is_told_once_it_is_met_again_and_again_and_when_it_is_over(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if "MEMREPO_LEASE_S" in one.getMessage()]

    ours, others, alike = (
        keeper(server, name, lease_s) for name, lease_s in (("ours", 60), ("others", 90), ("alike", 60))
    )
    alike.beat()
    ours.beat()
    for _ in range(2):
        others.beat()
        ours.beat()
    assert told() == []

    for _ in range(2):
        others.beat()
        ours.beat()
    assert len(told()) == 1
    assert "is 60 here, and longer for other workers" in told()[0]

    others.leave()
    with server.client() as client:
        client.zadd(LEASES_KEY, dict.fromkeys(map(str, range(SHARDS)), 1))
    ours.beat()
    assert len(told()) == 2
    assert told()[1].startswith("over after")


def _after(seconds: float) -> Callable[[], bool]:
    import time

    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def test_a_dead_workers_shards_are_taken_also_where_the_brokers_clock_was_set_back(server: Valkey) -> None:
    dead = keeper(server, "dead", 1)
    dead.beat()
    with server.client() as client:  # as it is for a clock that went back by a day and an hour
        for key in (LEASES_KEY, WORKERS_KEY):
            for member in client.zrange(key, 0, -1):
                client.zincrby(key, 25 * 3600 * 1000, member)
    heir = keeper(server, "heir", 1)

    def beaten() -> set[int]:
        heir.beat()
        return owned(heir)

    wait_for(lambda: beaten() == set(range(SHARDS)), "the heir to have all", every_s=0.1)


def test_a_server_whose_clock_was_set_back_behind_its_start_is_not_taken_for_a_new_one(
    server: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = keeper(server, "one", 1)
    assert isinstance(one.leases, RedisLeases)
    monkeypatch.setattr(one.leases.client, "info", lambda _section: {"uptime_in_seconds": -89_000})

    assert one.leases.server_age_s() > one.leases.lease_s
