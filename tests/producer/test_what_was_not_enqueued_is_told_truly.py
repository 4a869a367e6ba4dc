"""A call that says "not enqueued" has enqueued nothing; where an answer was lost it says so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, Job, MemoryRepoBusyError, MemoryRepos, Settings
from memrepo.dispatch.delivery import Delivery
from memrepo.routing import route
from tests.support.ports import LOOPBACK
from tests.support.proxy import Proxy, proxy
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

NAME = {"org_id": "acme", "agent_id": "agent-1"}
QUEUE = route("acme", "agent-1")
LARGE = "x" * 700_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    with valkey(tmp_path / "valkey") as one:
        yield one


@contextmanager
def client_through(address: Proxy) -> Iterator[MemoryRepos]:
    url = f"redis://{LOOPBACK}:{address.port}/0"
    with MemoryRepos(settings=Settings(url, url, enqueue_timeout_s=1.0, poll_interval_s=30)) as repos:
        wait_for(lambda: is_enqueued(repos), "the client to be connected")
        yield repos


def is_enqueued(repos: MemoryRepos) -> bool:
    """Send a read; tell whether the broker took it in time, which a machine that is busy may not let it."""
    with suppress(BrokerUnavailableError):
        return bool(repos.repo(**NAME).get_head_sha())
    return False


def queued(server: Valkey) -> list[str]:
    with server.client() as client:
        return [json.loads(raw)["headers"]["id"] for raw in client.lrange(QUEUE, 0, -1)]


def test_a_request_whose_answer_was_lost_may_be_enqueued(server: Valkey) -> None:
    with proxy(server.url) as address, client_through(address) as repos:
        before = len(queued(server))
        address.loses_answers = True

        with pytest.raises(BrokerUnavailableError, match="It may be enqueued all the same") as caught:
            repos.repo(**NAME).commit({"a.md": "x"}, "m")
        address.loses_answers = False

    assert caught.value.details["may_be_enqueued"] is True
    assert len(queued(server)) > before


def test_a_request_that_a_full_server_refuses_is_not_enqueued(server: Valkey) -> None:
    with proxy(server.url) as address, client_through(address) as repos, server.client() as client:
        before = queued(server)
        client.config_set("maxmemory", 1)

        with pytest.raises(MemoryRepoBusyError) as caught:
            repos.repo(**NAME).commit({"a.md": "x"}, "m")
        client.config_set("maxmemory", 0)

    assert "may_be_enqueued" not in caught.value.details
    assert queued(server) == before


def test_a_request_for_which_nobody_listens_is_not_enqueued(server: Valkey) -> None:
    with proxy(server.url) as address:
        server.kill()
        url = f"redis://{LOOPBACK}:{address.port}/0"
        with (
            MemoryRepos(settings=Settings(url, url, enqueue_timeout_s=0.5)) as repos,
            pytest.raises(BrokerUnavailableError) as caught,
        ):
            repos.repo(**NAME).commit({"a.md": "x"}, "m")

    assert "may_be_enqueued" not in caught.value.details


def test_each_request_of_a_batch_says_whether_it_is_in_the_queue(server: Valkey) -> None:
    """Of what is sent together the server takes some and refuses the rest, until all of them are given up."""

    async def send() -> dict[str, bool]:
        settings = Settings(server.url, server.url, enqueue_timeout_s=1.5, resend_after_s=0)
        async with AsyncMemoryRepos(settings=settings) as repos:
            repo = repos.repo(**NAME)
            while not await may_be_there(repo.get_head_sha()):
                pass
            with server.client() as client:
                client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 2_000_000)
                jobs = [repo.commit({"a.md": "x" * 14_000}, str(number)) for number in range(200)]
                says = {job.id: await may_be_there(job) for job in jobs}
                client.config_set("maxmemory", 0)
        return says

    says = asyncio.run(send())
    there = set(queued(server))

    assert len(there & says.keys()) > 0
    assert [one for one, may_be in says.items() if one in there and not may_be] == []
    assert not all(says.values())


async def may_be_there(job: Job[Any]) -> bool:
    try:
        await job.enqueued()
    except (BrokerUnavailableError, MemoryRepoBusyError) as error:
        return bool(error.details.get("may_be_enqueued"))
    return True


def test_what_was_given_up_is_not_sent_later() -> None:
    delivery = Delivery()

    assert not delivery.give_up()

    assert not delivery.begin()
    assert not delivery.give_up()
