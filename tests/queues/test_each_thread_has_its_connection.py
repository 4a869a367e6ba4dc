"""Scripts run over a connection of each thread's own, which answers one script after the other, or is closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from memrepo.redis.address import parse_redis_url
from memrepo.redis.client import connect
from memrepo.redis.script import Script
from memrepo_worker.queues.thread_connections import ThreadConnections
from tests.support.valkey import Valkey, valkey

SAY = Script("return ARGV[1]")
FAIL = Script("return redis.call('INCR', KEYS[1])")
BUSY = Script(
    "local t = redis.call('TIME')[1] + 1; while tonumber(redis.call('TIME')[1]) < t + 1 do end; return 'late'"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def client(server: Valkey) -> Iterator[Redis]:
    with connect(parse_redis_url(server.url, "url"), connect_timeout_s=5, timeout_s=0.3) as client:
        yield client


def connected(server: Valkey) -> set[str]:
    """The ids of the clients that the server knows, but for the one that asks."""
    with server.client() as asking:
        own = str(asking.client_id())
        return {line["id"] for line in asking.client_list() if line["id"] != own}


def test_a_script_is_answered_as_by_the_client(client: Redis) -> None:
    connections = ThreadConnections(client)
    for said in (b"bytes\r\n\0", "text é", 7, 0.25):
        assert SAY.run(connections, [], [said]) == SAY.run(client, [], [said])


def test_a_thread_keeps_its_connection_and_no_other_thread_uses_it(server: Valkey, client: Redis) -> None:
    connections = ThreadConnections(client)
    before = connected(server)
    done, end = threading.Barrier(4), threading.Event()

    def ask() -> None:
        for number in range(20):
            assert SAY.run(connections, [], [number]) == str(number).encode()
        done.wait(10)
        end.wait(10)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    done.wait(10)
    assert len(connected(server) - before) == 3
    end.set()
    for thread in threads:
        thread.join()


def test_an_error_of_the_server_keeps_the_connection(server: Valkey, client: Redis) -> None:
    connections = ThreadConnections(client)
    client.set("text", "no number")
    assert SAY.run(connections, [], ["first"]) == b"first"
    before = connected(server)

    with pytest.raises(ResponseError):
        FAIL.run(connections, ["text"], [])

    assert SAY.run(connections, [], ["next"]) == b"next"
    assert connected(server) <= before  # none is new


def test_an_answer_that_comes_too_late_is_nobody_elses(client: Redis) -> None:
    connections = ThreadConnections(client)
    assert SAY.run(connections, [], ["first"]) == b"first"

    with pytest.raises(RedisTimeoutError):
        BUSY.run(connections, [], [])

    answer = None
    while answer is None:
        try:
            answer = SAY.run(connections, [], ["next"])
        except RedisTimeoutError:  # the server is busy still
            continue
    assert answer == b"next"


def test_a_connection_that_the_server_has_closed_is_made_anew(server: Valkey, client: Redis) -> None:
    connections = ThreadConnections(client)
    assert SAY.run(connections, [], ["first"]) == b"first"
    with server.client() as killing:
        killing.execute_command("CLIENT KILL TYPE normal SKIPME yes")

    assert SAY.run(connections, [], ["next"]) == b"next"


def test_a_forked_child_uses_no_connection_of_its_parent(
    server: Valkey, client: Redis, tmp_path: Path
) -> None:
    connections = ThreadConnections(client)
    assert SAY.run(connections, [], ["before"]) == b"before"
    before = connected(server)

    child = os.fork()
    if child == 0:
        try:
            said = SAY.run(connections, [], ["child"])
            (tmp_path / "found").write_text(f"{said} {len(connected(server) - before)}")
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert (tmp_path / "found").read_text() == "b'child' 1"
    assert SAY.run(connections, [], ["after"]) == b"after"
    assert connected(server) >= before
