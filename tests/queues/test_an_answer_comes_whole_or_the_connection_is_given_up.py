"""An answer that begins and is not whole in time ends its connection, whichever it is; that is told, and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import redis

from memrepo import BrokerUnavailableError, MemoryRepos, Settings
from memrepo.redis import answers
from memrepo.redis.address import RedisUrl, parse_redis_url
from memrepo.redis.celery_app import OwnCelery
from memrepo.redis.client import connect
from memrepo.redis.errors import Action, meaning_of
from memrepo.redis.sentinel import find_primary
from memrepo_worker.app import build_app
from memrepo_worker.queues.leases.status import read_shards
from memrepo_worker.queues.transport.tracking import TrackingConnection
from memrepo_worker.settings import WorkerSettings
from tests.support.ports import LOOPBACK
from tests.support.proxy import Proxy, proxy
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, file_fleet

SHARDS, AGENTS = 16, 20
TIMEOUT_S = 30.0
LONG = "x" * 300
TOLD = "began and was not whole in time"


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One that no worker serves: what is enqueued there stays."""
    with valkey(tmp_path_factory.mktemp("dripping")) as server:
        yield server


@pytest.fixture
def dripping(own_broker: Valkey) -> Iterator[Proxy]:
    """What leads to the broker, and lets answers drip when it is told so."""
    with proxy(own_broker.url) as way:
        way.drip_s = 0.05
        with own_broker.client() as client:
            client.set("long", LONG)
        yield way


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an answer less time, so that the tests take less."""
    monkeypatch.setattr(answers, "WHOLE_WITHIN_S", 0.3)


def address_of(way: Proxy, scheme: str = "redis", rest: str = "0") -> RedisUrl:
    return parse_redis_url(f"{scheme}://{LOOPBACK}:{way.port}/{rest}", "URL")


def by_our_client(way: Proxy) -> object:
    with connect(address_of(way), connect_timeout_s=5, timeout_s=30) as client:
        client.ping()
        way.drips_after = b""
        return client.get("long")


def by_pub_sub(way: Proxy) -> object:
    with connect(address_of(way), connect_timeout_s=5, timeout_s=30) as client, client.pubsub() as pubsub:
        pubsub.subscribe("news")
        wait_for(lambda: pubsub.get_message(timeout=1), "the subscription")
        way.drips_after = b""
        publish(way, "news")
        return wait_for(lambda: pubsub.get_message(timeout=1), "the message", 60)


def by_kombu(way: Proxy) -> object:
    app = OwnCelery(address_of(way), address_of(way))
    app.connect_as_client(socket_timeout=30)
    with app.connection_for_write() as connection:
        client = connection.channel().client
        client.ping()
        way.drips_after = b""
        return client.get("long")


def by_kombus_pub_sub(way: Proxy) -> object:
    app = OwnCelery(address_of(way), address_of(way))
    app.connect_as_client(socket_timeout=30)
    with app.connection_for_write() as connection:
        pubsub = connection.channel().subclient
        pubsub.subscribe("news")
        pubsub.parse_response()
        way.drips_after = b""
        publish(way, "news")
        return pubsub.parse_response()


def by_the_results(way: Proxy) -> object:
    url = str(address_of(way))
    client = build_app(WorkerSettings(broker_url=url, result_url=url)).backend.client
    client.ping()
    way.drips_after = b""
    return client.get("long")


def by_tracking(way: Proxy) -> object:
    with connect(address_of(way), connect_timeout_s=5, timeout_s=30) as client:
        pool = client.connection_pool
        tracking = TrackingConnection(pool.connection_class, pool.connection_kwargs)
    way.drips_after = b""
    return tracking.eval("return redis.call('GET', KEYS[1])", 1, "long")


def by_hearing_of_changes(way: Proxy) -> object:
    key = f"memrepo.{LONG}"
    with connect(address_of(way), connect_timeout_s=5, timeout_s=30) as client:
        pool = client.connection_pool
        tracking = TrackingConnection(pool.connection_class, pool.connection_kwargs)
        tracking.eval("return redis.call('LLEN', KEYS[1])", 1, key)
        way.drips_after = b"TRACKING"
        client.lpush(key, "message")
        client.delete(key)

    def heard() -> bool:
        tracking.hear()
        return bool(tracking.changed([key]))

    return wait_for(heard, "the change", 60)


def by_asking_a_sentinel(way: Proxy) -> object:
    way.drips_after = b""
    return find_primary(address_of(way, "sentinel", "main/0"))


def publish(way: Proxy, channel: str) -> None:
    target = way.target_url
    with redis.Redis.from_url(target) as client:
        client.publish(channel, LONG)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "asked",
    [
        by_our_client,
        by_pub_sub,
        by_kombu,
        by_kombus_pub_sub,
        by_the_results,
        by_tracking,
        by_hearing_of_changes,
        by_asking_a_sentinel,
    ],
    ids=lambda asked: asked.__name__,
)
def test_each_kind_of_connection_is_given_up(dripping: Proxy, asked: Callable[[Proxy], object]) -> None:
    with pytest.raises(redis.ConnectionError) as met:
        asked(dripping)

    assert "not whole in time" in str(met.value)
    assert meaning_of(met.value).action is Action.CONNECT_ANEW


@pytest.mark.usefixtures("soon")
def test_it_is_made_anew_and_told_once_for_many(dripping: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    answers.slow_servers.listen(lambda: heard.append("given up"))
    with (
        caplog.at_level(logging.WARNING, "memrepo.redis.answers"),
        connect(address_of(dripping), connect_timeout_s=5, timeout_s=30) as client,
    ):
        client.ping()
        dripping.drips_after = b""
        for _ in range(3):
            with pytest.raises(redis.ConnectionError):
                client.get("long")
        dripping.drips_after = None
        found = client.get("long")

    assert found == LONG.encode()
    assert [TOLD in record.getMessage() for record in caplog.records] == [True]
    assert f"{LOOPBACK}:{dripping.port}" in caplog.text
    assert heard == ["given up"] * 3


@pytest.mark.usefixtures("soon")
def test_a_long_answer_may_take_longer(dripping: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BYTES_PER_S_MIN", 5)
    with connect(address_of(dripping), connect_timeout_s=5, timeout_s=30) as client:
        client.ping()
        dripping.drips_after, dripping.drip_s = b"", 0.005
        assert client.get("long") == LONG.encode()


def test_what_lies_here_is_taken_however_late_we_look(
    own_broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_s = [0.0]
    with own_broker.client() as client:
        client.set("long", LONG)
    with connect(parse_redis_url(own_broker.url, "URL"), connect_timeout_s=5, timeout_s=30) as client:
        client.connection_pool.connection_kwargs["socket_read_size"] = 50
        client.ping()

        def clock() -> float:
            later_s[0] += 100
            return later_s[0]

        monkeypatch.setattr(answers, "steady_clock", clock)
        assert client.get("long") == LONG.encode()


@dataclass
class Both:
    """Two workers of one broker, the first by a way that can be made to let answers drip."""

    server: Valkey
    way: Proxy
    workers: WorkerFleet
    dripped: WorkerProcess

    def owned(self) -> dict[str, int]:
        with self.server.raw_client() as client:
            owners = [shard.owner for shard in read_shards(client, SHARDS) if shard.owner]
        names = [owner.partition("@")[0] for owner in owners]
        return {name: names.count(name) for name in sorted(set(names))}

    def given_up(self) -> int:
        """How many connections the first has given up, as it says itself."""
        url = parse_redis_url(self.server.url, "URL")
        app = OwnCelery(url, url)
        app.connect_as_client()

        def said() -> list[dict[str, float]]:
            """Ask: who subscribes anew just now is not reached."""
            answers = app.control.broadcast("memrepo_counters", reply=True, timeout=5, limit=2) or ()
            return [one for answer in answers for name, one in answer.items() if name.startswith("dripped@")]

        [counted] = wait_for(said, "the first to answer", 60)
        return int(counted.get("redis.connections.given_up", 0))

    def serves_all(self) -> None:
        """Have a commit of each agent made, whichever shard it is in."""
        settings = Settings(self.server.url, self.server.url, shards=SHARDS, enqueue_timeout_s=TIMEOUT_S)
        with MemoryRepos(settings=settings) as repos:
            jobs = [
                repos.repo(org_id="acme", agent_id=f"agent-{number}").commit({"a.md": "x"}, "m")
                for number in range(AGENTS)
            ]
            for job in jobs:
                assert job.result(timeout_s=TIMEOUT_S).created


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    with ExitStack() as stack:
        server = stack.enter_context(valkey(folder / "valkey", "no"))
        way = stack.enter_context(proxy(server.url))
        settings = WorkerSettings(
            broker_url=server.url, result_url=server.url, shards=SHARDS, concurrency=4, lease_s=4
        )
        workers = stack.enter_context(file_fleet(folder / "workers", settings, folder / "done"))
        workers.start("healthy")
        workers.handler = "tests.support.impatient:file_service"
        url, cache = f"redis://{LOOPBACK}:{way.port}/0", folder / "dripped"
        dripped = workers.start("dripped", broker_url=url, result_url=url, cache_dir=cache)
        one = Both(server, way, workers, dripped)
        wait_for(lambda: one.owned() == EVEN, "both to have their share")
        yield one


EVEN = {"dripped": SHARDS // 2, "healthy": SHARDS // 2}

WAYS = {
    "that_tells_of_new_messages": b"TRACKING",
    "that_everything_goes_over": b"",
}


@pytest.mark.parametrize("said", WAYS.values(), ids=WAYS)
def test_a_worker_whose_connection_drips_leaves_its_shards_to_others_and_says_so(
    both: Both, said: bytes
) -> None:
    before = both.given_up()
    both.way.drips_after = said
    try:
        wait_for(lambda: both.owned() == {"healthy": SHARDS}, "the other to have all shards", 60)
        both.serves_all()
    finally:
        both.way.drips_after = None
    wait_for(lambda: both.owned() == EVEN, "it to have its share again", 60)

    both.serves_all()
    assert TOLD in both.dripped.output
    assert both.given_up() > before
    assert both.dripped.process.poll() is None
    assert "Traceback" not in both.dripped.output


def test_a_worker_serves_while_what_it_is_asked_by_remote_control_drips(both: Both) -> None:
    app = OwnCelery(parse_redis_url(both.server.url, "URL"), parse_redis_url(both.server.url, "URL"))
    app.connect_as_client()
    both.way.drips_after = b"PSUBSCRIBE"
    try:
        app.control.broadcast("ping", arguments={"text": LONG})
        both.serves_all()
    finally:
        both.way.drips_after = None

    wait_for(lambda: both.owned() == EVEN, "both to have their share", 60)


@pytest.mark.usefixtures("soon")
def test_a_producer_says_what_it_has_met_and_goes_on_when_it_is_over(dripping: Proxy) -> None:
    url = f"redis://{LOOPBACK}:{dripping.port}/0"
    dripping.drips_after = b""
    with MemoryRepos(settings=Settings(url, url, shards=4, enqueue_timeout_s=2)) as repos:
        repo = repos.repo(org_id="acme", agent_id="dripped")
        with pytest.raises(BrokerUnavailableError, match="its answers come in pieces, too slowly"):
            repo.commit({"a.md": "x"}, "m")
        dripping.drips_after = None
        repo.commit({"a.md": "x"}, "m").wait_enqueued()
