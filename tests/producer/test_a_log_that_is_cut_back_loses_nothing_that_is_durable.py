"""What ``enqueued()`` acknowledged is there after a crash that takes the broker's log back to its last flush.

The flush is held by the server's own setting, so that the test knows to the byte what was flushed; the crash is a
SIGKILL, and what was not flushed is cut off, as the loss of a machine's power does. Nothing is sent a second time by
the client's look for lost requests, which is off here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from memrepo import AsyncMemoryRepos, Job, MemoryRepos, Settings
from memrepo.clock import steady_clock
from memrepo.dispatch.connection import BrokerConnection, Message
from memrepo.models import CommitResult
from memrepo.routing import route
from memrepo.settings import Durability
from memrepo.wire.operations import operation_of
from tests.support.sending import commit_request
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

FLUSHES, COMMITS = 3, 20
QUEUE = route("acme", "agent-1")


@dataclass
class Log:
    """The append-only file of a server that flushes when it is told to, as far as it was flushed last."""

    server: Valkey
    flushed_bytes: int = 0
    flushes: int = 0
    _counted_besides_bytes: int = 0  # in what the server says of its file's size

    def flush(self) -> None:
        """Have everything flushed that was written until now, and nothing after it."""
        with self.server.client() as client:
            client.config_set("appendfsync", "always")
            client.set("flushed", self.flushes)
            with client.pipeline(transaction=True) as pipeline:
                pipeline.config_set("appendfsync", "no")  # with it nothing is flushed any more ...
                pipeline.info("persistence")  # ... and this much of the file was
                _, found = pipeline.execute()
        self.flushed_bytes = int(found["aof_current_size"]) - self._counted_besides_bytes
        self.flushes += 1

    def crash(self) -> int:
        """Kill the server, cut off what was not flushed, start it again; return how many bytes that was."""
        self.server.kill()
        log = self._one("*.incr.aof")
        cut_bytes = log.stat().st_size - self.flushed_bytes
        os.truncate(log, self.flushed_bytes)
        self.server.start()
        self._counted_besides_bytes = self._one("*.base.rdb").stat().st_size  # from now on
        return cut_bytes

    def _one(self, pattern: str) -> Path:
        [found] = (self.server.folder / "appendonlydir").glob(pattern)
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    server = Valkey(tmp_path)
    server.start()
    try:
        yield Log(server)
    finally:
        server.kill()


def settings(server: Valkey, durability: Durability) -> Settings:
    return Settings(
        server.url, server.url, enqueue_timeout_s=30, enqueue_durability=durability, resend_after_s=0
    )


def ids_in_queue(server: Valkey) -> set[str]:
    with server.client() as client:
        return {json.loads(message)["headers"]["id"] for message in client.lrange(QUEUE, 0, -1)}


class Calls:
    """Commits of one client, and which of them the broker has acknowledged."""

    def __init__(self, repos: AsyncMemoryRepos) -> None:
        self._repo = repos.repo(org_id="acme", agent_id="agent-1")
        self._calls: list[asyncio.Task[str]] = []

    async def connect(self) -> None:
        """Have the client connected, before the server's setting says for a while that it never flushes."""
        await self._repo.commit({"a": "x"}, "m").enqueued()

    def commit(self, count: int) -> None:
        jobs = [self._repo.commit({"a": "x"}, "m") for _ in range(count)]
        self._calls += [asyncio.create_task(self._acknowledged(job)) for job in jobs]

    async def _acknowledged(self, job: Job[CommitResult]) -> str:
        await job.enqueued()
        return job.id

    @property
    def acknowledged(self) -> set[str]:
        return {call.result() for call in self._calls if call.done()}

    async def all_ended(self, within_s: float) -> bool:
        _, waiting = await asyncio.wait(self._calls, timeout=within_s)
        return not waiting


async def commit_over_some_flushes(log: Log, calls: Calls) -> None:
    """End with commits in the broker's memory, and in its file, that were not flushed."""
    for _ in range(FLUSHES):
        calls.commit(COMMITS)
        await asyncio.sleep(0.02)  # whether they are there before the flush or after it is chance, and may be
        await asyncio.to_thread(log.flush)
    while not await calls.all_ended(within_s=0.2):
        await asyncio.to_thread(log.flush)
    calls.commit(COMMITS)
    while len(await asyncio.to_thread(ids_in_queue, log.server)) == 1 + FLUSHES * COMMITS:
        await asyncio.sleep(0.01)
    await calls.all_ended(within_s=1.0)  # who would acknowledge more does it now


def test_disk_loses_nothing_that_was_acknowledged(log: Log) -> None:
    asyncio.run(disk_loses_nothing_that_was_acknowledged(log))


async def disk_loses_nothing_that_was_acknowledged(log: Log) -> None:
    async with AsyncMemoryRepos(settings=settings(log.server, "disk")) as repos:
        calls = Calls(repos)
        await calls.connect()
        await commit_over_some_flushes(log, calls)
        acknowledged = calls.acknowledged

        assert await asyncio.to_thread(log.crash) > 0

        assert acknowledged <= await asyncio.to_thread(ids_in_queue, log.server)
        assert len(acknowledged) == FLUSHES * COMMITS
        assert await calls.all_ended(within_s=20)  # what was in doubt is sent again
        await asyncio.to_thread(log.flush)
        await asyncio.to_thread(log.crash)
        assert len(calls.acknowledged) == (FLUSHES + 1) * COMMITS
        assert calls.acknowledged < await asyncio.to_thread(ids_in_queue, log.server)


def test_memory_loses_some_by_the_same_cut(log: Log) -> None:
    asyncio.run(memory_loses_some_by_the_same_cut(log))


async def memory_loses_some_by_the_same_cut(log: Log) -> None:
    async with AsyncMemoryRepos(settings=settings(log.server, "memory")) as repos:
        calls = Calls(repos)
        await calls.connect()
        await commit_over_some_flushes(log, calls)

        await asyncio.to_thread(log.crash)

        assert len(calls.acknowledged) == (FLUSHES + 1) * COMMITS
        assert calls.acknowledged - await asyncio.to_thread(ids_in_queue, log.server)


def test_a_connection_made_anew_answers_for_nothing_that_was_written_before(log: Log) -> None:
    connection = BrokerConnection(settings(log.server, "disk"), steady_clock)
    connection.open()
    log.server.client().config_set("appendfsync", "no")
    request = commit_request("acme", "agent-1", "m", b"x")
    message = Message(
        "an-id",
        operation_of(request).task_name,
        request,
        QUEUE,
        reply_to="r",
        give_up_at_s=steady_clock() + 9,
    )
    [message] = connection.put_payloads([message])
    connection.publish([message])

    log.server.cut_all_connections()

    with pytest.raises(RedisConnectionError, match="before the broker was sure"):
        wait_for(connection.is_durable, "an answer")
    connection.disconnect()


def test_what_is_flushed_every_second_is_acknowledged_after_a_second(log: Log) -> None:
    """The server says at once that what follows a flush within its second is flushed: it is not."""
    with MemoryRepos(settings=settings(log.server, "disk")) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.commit({"a": "x"}, "m")  # after it there was a flush just now
        began_s = steady_clock()

        repo.commit({"a": "y"}, "m")

        assert steady_clock() - began_s > 1.0
