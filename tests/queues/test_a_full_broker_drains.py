"""A broker whose memory is full takes no requests; workers make room in it, and order is kept through it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, MemoryRepoBusyError, MemoryRepos, Settings
from memrepo_worker.cli.checks.broker import check_broker
from memrepo_worker.group import Agent
from memrepo_worker.settings import WorkerSettings
from tests.support.file_service import FileService
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import given_time, wait_for
from tests.support.workers import WorkerFleet, file_fleet

SHARDS = 4
REQUESTS = 200


@contextmanager
def full(server: Valkey, room_bytes: int = 0) -> Iterator[None]:
    """Let the server have no memory left, or so much of it."""
    with server.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + room_bytes or 1)
        yield
        client.config_set("maxmemory", 0)


def refusals(server: Valkey) -> int:
    """Return how often the server has refused something for want of memory."""
    with server.client() as client:
        found: int = client.info("errorstats").get("errorstat_OOM", {}).get("count", 0)
        return found


def settings_at(server: Valkey, **values: object) -> Settings:
    return Settings(broker_url=server.url, result_url=server.url, **values)  # type: ignore[arg-type] # a test's own


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey") as one:
        yield one


@pytest.fixture
def service(tmp_path: Path) -> FileService:
    (tmp_path / "done").mkdir()
    return FileService(tmp_path / "done", 0.0)


@pytest.fixture
def workers(server: Valkey, service: FileService, tmp_path: Path) -> Iterator[WorkerFleet]:
    settings = WorkerSettings(
        broker_url=server.url, result_url=server.url, shards=SHARDS, concurrency=4, lease_s=2.0
    )
    with file_fleet(tmp_path / "workers", settings, service.folder) as running:
        yield running


@pytest.fixture
def send(server: Valkey) -> Iterator[Sender]:
    with sender(server, SHARDS) as sending:
        yield sending


def answered(send: Sender, ids: list[str]) -> Callable[[], bool]:
    return lambda: all((send.meta(one) or {}).get("status") == "SUCCESS" for one in ids)


@pytest.mark.parametrize("starts", ["before", "after"])
def test_a_worker_answers_all_that_waits_there_also_one_that_starts_then(
    starts: str, server: Valkey, workers: WorkerFleet, send: Sender, service: FileService
) -> None:
    first = workers.start()
    wait_for(lambda: server.client().hlen("memrepo:owners") == SHARDS, "the worker to own all")
    with ExitStack() as stack:
        if starts == "before":
            first.pause()
            stack.callback(first.resume)
        else:
            first.terminate()
            assert first.process.wait(20) == 0
        ids = [send.commit("acme", f"a{number % 5}") for number in range(REQUESTS)]
        stack.enter_context(full(server))
        if starts == "before":
            first.resume()
        else:
            workers.start()
        wait_for(answered(send, ids), "all to be answered", 30)
    done = [service.log(Agent("acme", f"a{number}")) for number in range(5)]
    assert done == [ids[number::5] for number in range(5)]


def test_the_checks_at_a_start_pass_and_say_that_it_is_full(server: Valkey) -> None:
    with full(server):
        found = check_broker(WorkerSettings(broker_url=server.url, result_url=server.url))
    [warning] = [one for one in found.warnings if "its memory is full" in one]
    assert "MEMREPO_RESULT_EXPIRES_S" in warning  # nobody takes results away


def test_the_checks_at_a_start_say_that_it_is_nearly_full(server: Valkey) -> None:
    with server.client() as client:
        client.set("ballast", "x" * 30_000_000)  # beside which connections weigh nothing

        def is_told() -> bool:
            """Ask at 95 %; a server that still frees what a test before this one left is below that soon."""
            client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
            found = check_broker(WorkerSettings(broker_url=server.url, result_url=server.url))
            told = " ".join(found.warnings)
            return re.search(r"9\d% of its memory \(maxmemory\) is used", told) is not None

        try:
            wait_for(is_told, "a warning of a memory that is nearly full")
        finally:
            client.config_set("maxmemory", 0)
            client.delete("ballast")


def test_a_producer_is_told_busy_and_what_to_do(server: Valkey) -> None:
    def it_is_told(limit_s: float) -> None:
        with MemoryRepos(settings=settings_at(server, enqueue_timeout_s=limit_s)) as repos, full(server):
            repo = repos.repo(org_id="acme", agent_id="a")
            with pytest.raises((MemoryRepoBusyError, BrokerUnavailableError)) as caught:
                repo.commit({"a.md": "x"}, "m")
        assert caught.type is MemoryRepoBusyError
        assert re.search(r"its memory is full.* is safe", str(caught.value))

    given_time(it_is_told, (1.5, 5.0))


def test_no_message_is_pushed_after_one_that_was_refused(server: Valkey) -> None:
    """Small and large ones take turns; the server has room for some of the small ones alone."""

    async def send() -> list[str]:
        async with AsyncMemoryRepos(settings=settings_at(server, shards=1, enqueue_timeout_s=20.0)) as repos:
            repo = repos.repo(org_id="acme", agent_id="a")
            await repo.get_head_sha().enqueued()  # connected from here
            with full(server, 100_000):
                jobs = [
                    repo.commit({"a.md": "x" * (30_000 if number % 3 == 1 else 10)}, str(number))
                    for number in range(60)
                ]
                await asyncio.to_thread(
                    wait_for, lambda: refusals(server) > 5, "the server to refuse, many times"
                )
            for job in jobs:
                await job.enqueued()
            return [job.id for job in jobs]

    ids = asyncio.run(send())
    with server.client() as client:
        bodies = [json.loads(raw) for raw in reversed(client.lrange("memrepo.000", 0, -1))]
    pushed = [body["headers"]["id"] for body in bodies]
    assert list(dict.fromkeys(pushed))[1:] == ids
