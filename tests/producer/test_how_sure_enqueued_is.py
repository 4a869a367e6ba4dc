"""``MEMREPO_ENQUEUE_DURABILITY``: a call returns when the broker is as sure of its request as is asked for.

Redis before 7.2 has no ``WAITAOF``: there ``disk`` is refused by name, whatever else a test is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, InvalidRequestError, MemoryRepos, Settings
from memrepo.routing import route
from memrepo.settings import Durability
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

NAME = {"org_id": "acme", "agent_id": "agent-1"}
QUEUE = route("acme", "agent-1")
CANNOT = "MEMREPO_ENQUEUE_DURABILITY: is 'disk', which this broker cannot do"
UNKNOWN = "unknown command"


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("primary"), "always") as server:
        yield server


def settings(server: Valkey, durability: Durability, enqueue_timeout_s: float = 5.0) -> Settings:
    return Settings(
        server.url, server.url, enqueue_timeout_s=enqueue_timeout_s, enqueue_durability=durability
    )


def calls(server: Valkey, command: str) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def commit(server: Valkey, durability: Durability, timeout_s: float = 5.0) -> None:
    with MemoryRepos(settings=settings(server, durability, timeout_s)) as repos:
        repos.repo(**NAME).commit({"a": "x"}, "m", request_id="my-own-id-1")


def has_waitaof(server: Valkey) -> bool:
    with server.client() as client:
        try:
            client.execute_command("WAITAOF", 0, 0, 1)
        except redis.ResponseError:
            return False
        return True


def why_not(server: Valkey) -> str:
    return "it leaves flushing to its system" if has_waitaof(server) else UNKNOWN


@contextmanager
def where_disk_can_be_had(server: Valkey) -> Iterator[None]:
    """Ask for ``disk`` in the block: a server that has no such command is told to be one, and takes nothing."""
    if has_waitaof(server):
        yield
        return
    before = server.client().llen(QUEUE)
    with pytest.raises(InvalidRequestError, match=f"{CANNOT}: {UNKNOWN}"):
        yield
    assert server.client().llen(QUEUE) == before


@contextmanager
def followed(primary: Valkey, folder: Path) -> Iterator[Valkey]:
    """Have a replica follow the primary until the block ends."""
    with valkey(folder, "everysec", "--replicaof", f"127.0.0.1 {primary.port}") as replica:
        wait_for(
            lambda: replica.client().info("replication")["master_link_status"] == "up",
            "the replica to follow",
        )
        yield replica


def test_memory_asks_the_broker_nothing_more(primary: Valkey) -> None:
    before = calls(primary, "waitaof"), calls(primary, "wait")

    commit(primary, "memory")

    assert (calls(primary, "waitaof"), calls(primary, "wait")) == before


def test_disk_asks_once_for_a_batch(primary: Valkey) -> None:
    with where_disk_can_be_had(primary), MemoryRepos(settings=settings(primary, "disk")) as repos:
        repo = repos.repo(**NAME)
        repo.commit({"a": "x"}, "m")  # connects, and asks whether the broker can
        before = calls(primary, "waitaof")

        repo.commit({"a": "y"}, "m")

        assert calls(primary, "waitaof") == before + 1


def test_disk_is_refused_by_name_where_the_broker_keeps_no_file(tmp_path: Path) -> None:
    with (
        valkey(tmp_path, "always", "--appendonly", "no") as server,
        pytest.raises(InvalidRequestError, match=CANNOT),
    ):
        commit(server, "disk")


def test_disk_is_refused_by_name_where_the_broker_leaves_flushing_to_its_system(tmp_path: Path) -> None:
    with (
        valkey(tmp_path, "no") as server,
        pytest.raises(InvalidRequestError, match=f"{CANNOT}: {why_not(server)}"),
    ):
        commit(server, "disk")


def test_replica_returns_when_one_has_it(primary: Valkey, tmp_path: Path) -> None:
    with followed(primary, tmp_path) as replica:
        commit(primary, "replica")

        assert replica.client().llen(QUEUE) == primary.client().llen(QUEUE) > 0


def test_without_a_replica_it_is_refused_at_first_contact_and_nothing_is_enqueued(primary: Valkey) -> None:
    before = primary.client().llen(QUEUE)

    with pytest.raises(BrokerUnavailableError, match="no replica follows it: MEMREPO_ENQUEUE_DURABILITY is"):
        commit(primary, "replica", timeout_s=600)

    assert primary.client().llen(QUEUE) == before


def test_after_the_first_contact_a_replica_is_waited_for(primary: Valkey, tmp_path: Path) -> None:
    async def commit(repos: AsyncMemoryRepos, replica: Valkey) -> None:
        repo = repos.repo(**NAME)
        await repo.commit({"a": "x"}, "m").enqueued()
        replica.kill()
        before = calls(primary, "wait")
        job = repo.commit({"a": "y"}, "m")
        await asyncio.to_thread(
            wait_for, lambda: calls(primary, "wait") > before, "it to be asked for its replica"
        )
        primary.kill()
        await asyncio.to_thread(primary.start)
        while "no replica follows it now" not in job.describe().reason:
            await asyncio.sleep(0.01)
        replica.start()
        await job.enqueued()

    async def run(replica: Valkey) -> None:
        async with AsyncMemoryRepos(settings=settings(primary, "replica", 60)) as repos:
            await commit(repos, replica)

    with followed(primary, tmp_path) as replica:
        asyncio.run(run(replica))
        assert replica.client().llen(QUEUE) == primary.client().llen(QUEUE)


def test_where_the_replica_is_lost_it_is_said_that_the_request_may_be_enqueued(
    primary: Valkey, tmp_path: Path
) -> None:
    with MemoryRepos(settings=settings(primary, "replica", 3)) as repos:
        repo = repos.repo(**NAME)
        with followed(primary, tmp_path):
            repo.commit({"a": "x"}, "m")
        with pytest.raises(BrokerUnavailableError) as caught:
            repo.commit({"a": "x"}, "m", request_id="my-own-id-1")

    assert "it may be enqueued" in str(caught.value)
    assert "Sending it again with the same request id, my-own-id-1, is safe." in str(caught.value)


def test_what_is_none_of_the_three_is_refused_by_name() -> None:
    with pytest.raises(
        InvalidRequestError, match="MEMREPO_ENQUEUE_DURABILITY: is 'tape': it must be one of memory"
    ):
        Settings.from_env({"MEMREPO_ENQUEUE_DURABILITY": "tape"})

    assert Settings.from_env({"MEMREPO_ENQUEUE_DURABILITY": " Disk "}).enqueue_durability == "disk"


def test_calls_that_are_made_at_once_share_what_being_sure_takes(primary: Valkey) -> None:
    async def commit_at_once(number: int) -> None:
        async with AsyncMemoryRepos(settings=settings(primary, "disk", 30)) as repos:
            await repos.repo(**NAME).commit({"a": "x"}, "m").enqueued()  # connects
            before = calls(primary, "waitaof")
            jobs = [repos.repo(**NAME).commit({"a": str(one)}, "m") for one in range(number)]
            await asyncio.gather(*(job.enqueued() for job in jobs))
            assert calls(primary, "waitaof") - before < 10  # a hundred share one where that costs nothing

    with where_disk_can_be_had(primary):
        asyncio.run(commit_at_once(1000))


def test_a_user_that_may_not_mark_what_is_flushed_is_refused_before_anything_is_enqueued(
    tmp_path: Path,
) -> None:
    with valkey(tmp_path, "everysec") as server:
        with server.client() as client:
            client.execute_command(
                "ACL",
                "SETUSER",
                "sender",
                "on",
                ">word",
                "~*",
                "&*",
                "+@all",
                "-set",
                "(+set ~celery-task-meta-*)",
            )
        url = server.url.replace("redis://", "redis://sender:word@")
        with (
            where_disk_can_be_had(server),
            MemoryRepos(settings=Settings(url, url, enqueue_durability="disk")) as repos,
            pytest.raises(BrokerUnavailableError, match=r"SET on memrepo:flushed .*ACL SETUSER sender \+set"),
        ):
            repos.repo(**NAME).commit({"a": "x"}, "m")
        assert server.client().llen(QUEUE) == 0
