"""Whatever ends the consuming of a shard's queue: while the worker holds the lease, it consumes that queue again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from celery import Celery

from memrepo.routing import route
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.workers import fleet

QUEUE = route("acme", "m", SHARDS)


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("meddled")) as server:
        yield server


@pytest.fixture(scope="module")
def meddled(own_broker: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """Sends to a worker whose consumer can be told what its owner never said."""
    settings = WorkerSettings(broker_url=own_broker.url, result_url=own_broker.url, shards=SHARDS, lease_s=2)
    handler = "tests.support.meddling:service"
    with fleet(tmp_path_factory.mktemp("workers"), settings, handler, own_broker.database(1)) as running:
        running.start()
        with sender(own_broker, SHARDS) as sending:
            assert sending.final(sending.commit("acme", "m"))["status"] == "SUCCESS"
            yield sending


@pytest.mark.parametrize("by", ["celery", "consumer", "channel"])
def test_a_queue_that_was_cancelled_behind_the_owners_back_is_consumed_again(
    meddled: Sender, own_broker: Valkey, by: str
) -> None:
    effects: redis.Redis = own_broker.client(1)
    effects.delete("effects:acme/m")
    with Celery(broker=own_broker.url, set_as_current=False) as celery:
        [answer] = celery.control.broadcast(
            "cancel_behind", arguments={"by": by, "queue": QUEUE}, reply=True, timeout=30, limit=1
        )
    sent = [meddled.commit("acme", "m") for _ in range(5)]

    assert list(answer.values()) == [{"before": True, "after": False}]
    assert [meddled.final(task_id)["status"] for task_id in sent] == ["SUCCESS"] * 5
    assert effects.lrange("effects:acme/m", 0, -1) == sent
