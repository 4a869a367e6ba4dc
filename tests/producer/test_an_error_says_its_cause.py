"""What is wrong with the broker or the result store is said in its own words: at once where no waiting mends it."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from typing import Any

import pytest
import redis

from memrepo import AsyncMemoryRepos, BrokerUnavailableError, MemoryRepoError, MemoryRepos, Settings
from memrepo.dispatch import connection
from memrepo.dispatch.connection import Message
from memrepo.dispatch.publisher import Publisher
from memrepo.ids import new_id
from memrepo.redis.errors import Action, meaning_of
from memrepo.routing import queue_name
from memrepo.wire.operations import COMMIT, build
from tests.support.ports import LOOPBACK, closed_port
from tests.support.valkey import Valkey
from tests.support.waiting import given_time

ID = "my-own-id-1"


def nowhere() -> str:
    return f"redis://u:s3cr3t@{LOOPBACK}:{closed_port()}/0"


def a_write(settings: Settings) -> MemoryRepoError:
    with MemoryRepos(settings=settings) as repos, pytest.raises(MemoryRepoError) as caught:
        repos.repo(org_id="acme", agent_id="agent-1").commit({"a": "x"}, "m", request_id=ID)
    return caught.value


def a_read(settings: Settings) -> MemoryRepoError:
    with MemoryRepos(settings=settings) as repos, pytest.raises(MemoryRepoError) as caught:
        repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
    return caught.value


def test_what_may_pass_is_tried_until_the_time_is_up_and_then_told_with_what_the_last_try_met() -> None:
    url = nowhere()

    def it_is_told(limit_s: float) -> None:
        error = a_write(Settings(url, url, enqueue_timeout_s=limit_s))

        assert type(error) is BrokerUnavailableError
        assert str(error) == (
            f"The broker at {url.replace('s3cr3t', '***')} did not take the request within {limit_s:g} s: nobody "
            f"listens there: Connection refused. Sending it again with the same request id, {ID}, is safe."
        )
        assert isinstance(error.__cause__, redis.ConnectionError)
        assert error.details == {"request_id": ID}

    given_time(it_is_told)


def test_a_read_is_not_advised_to_be_sent_with_the_same_id() -> None:
    url = nowhere()

    def it_is_not(limit_s: float) -> None:
        error = a_read(Settings(url, url, enqueue_timeout_s=limit_s))
        assert str(error).endswith("nobody listens there: Connection refused.")

    given_time(it_is_not)


def test_the_result_store_is_named_where_it_is_what_fails(broker: Valkey) -> None:
    url = nowhere()

    def it_is_named(limit_s: float) -> None:
        error = a_write(Settings(broker.url, url, enqueue_timeout_s=limit_s))

        assert str(error).startswith(
            f"The result store at {url.replace('s3cr3t', '***')} did not answer within {limit_s:g} s: nobody"
        )

    given_time(it_is_named)


def test_the_broker_is_named_where_the_result_store_is_well(broker: Valkey) -> None:
    url = nowhere()

    error = a_write(Settings(url, broker.url, enqueue_timeout_s=1.5))

    assert str(error).startswith("The broker at redis://u:***@")


@pytest.mark.parametrize("which", ["broker", "result store"])
def test_what_no_waiting_mends_is_told_long_before_the_time_is_up(broker: Valkey, which: str) -> None:
    wrong = f"redis://nobody:s3cr3t@{LOOPBACK}:{broker.port}/0"
    urls = (wrong, broker.url) if which == "broker" else (broker.url, wrong)

    began = time.monotonic()
    error = a_write(Settings(*urls, enqueue_timeout_s=30))

    assert time.monotonic() - began < 10
    assert str(error) == (
        f"The {which} at redis://nobody:***@{LOOPBACK}:{broker.port}/0 cannot be used: check user and password in its "
        "URL: WRONGPASS invalid username-password pair or user is disabled. No waiting mends that. Sending it again "
        f"with the same request id, {ID}, is safe."
    )
    assert isinstance(error.__cause__, redis.AuthenticationError)


def test_a_client_that_works_is_told_at_once_when_its_password_is_changed(broker: Valkey) -> None:
    with broker.client() as admin:
        admin.acl_setuser(
            "changing", enabled=True, passwords=["+old"], keys=["*"], channels=["*"], commands=["+@all"]
        )
        url = f"redis://changing:old@{LOOPBACK}:{broker.port}/0"
        with MemoryRepos(settings=Settings(url, broker.url, enqueue_timeout_s=30)) as repos:
            repo = repos.repo(org_id="acme", agent_id="agent-1")
            repo.get_head_sha()
            admin.execute_command("ACL", "SETUSER", "changing", ">new", "<old")
            broker.cut_all_connections()

            with pytest.raises(BrokerUnavailableError, match="WRONGPASS"):
                repo.get_head_sha()

            admin.execute_command("ACL", "SETUSER", "changing", ">old")
            repo.get_head_sha()


def test_a_missing_library_is_no_broker_that_is_away(monkeypatch: pytest.MonkeyPatch, broker: Valkey) -> None:
    import kombu.transport.redis

    monkeypatch.setattr(
        kombu.transport.redis, "redis", None
    )  # as kombu has it where redis-py is not installed

    error = a_write(Settings(broker.url, broker.url, enqueue_timeout_s=30))

    assert type(error) is MemoryRepoError
    assert "A library that memrepo needs is missing here, or unfit: Missing redis library" in str(error)
    assert isinstance(error.__cause__, ImportError)


def test_what_only_an_old_connection_says_is_no_refusal(
    monkeypatch: pytest.MonkeyPatch, broker: Valkey
) -> None:
    with MemoryRepos(settings=Settings(broker.url, broker.url, enqueue_timeout_s=30)) as repos:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        repo.get_head_sha()
        send, out_of_step = connection.send_task, [redis.InvalidResponse("Protocol Error: b'half an answer'")]

        def broken_once(*arguments: Any) -> None:
            if out_of_step:
                raise out_of_step.pop()
            send(*arguments)

        monkeypatch.setattr(connection, "send_task", broken_once)

        repo.get_head_sha()

    assert not out_of_step


@pytest.mark.parametrize("library", ["redis", "celery"])
def test_a_library_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, broker: Valkey, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(
        sys.modules, "memrepo.redis.celery_app", raising=False
    )  # loaded once, it needs none again

    error = a_write(Settings(broker.url, broker.url, enqueue_timeout_s=30))

    assert type(error) is MemoryRepoError
    assert library in str(error)
    assert "pip install " in str(error)


def test_a_broker_whose_look_up_never_ends_is_told_with_what_is_known(
    monkeypatch: pytest.MonkeyPatch, broker: Valkey
) -> None:
    over = threading.Event()
    look_up = socket.getaddrinfo

    def without_an_answer(host: str, *rest: Any) -> Any:
        if host == "broker.example":
            over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return look_up(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", without_an_answer)
    try:
        error = a_write(Settings("redis://broker.example/0", broker.url, enqueue_timeout_s=0.3))
    finally:
        over.set()

    assert str(error).startswith(
        "The broker at redis://broker.example:6379/0 did not take the request within 0.3 s: no answer yet, to a "
        "connection or to the look-up of its name; where this machine is busy, MEMREPO_ENQUEUE_TIMEOUT_S "
        "may be too short."
    )


def test_an_unfit_library_is_no_broker_that_is_away(monkeypatch: pytest.MonkeyPatch, broker: Valkey) -> None:
    monkeypatch.setattr(redis, "VERSION", (3, 0, 0))

    error = a_write(Settings(broker.url, broker.url, enqueue_timeout_s=30))

    assert type(error) is MemoryRepoError
    assert "unfit: Redis transport requires redis-py versions" in str(error)


def test_a_fault_that_the_table_does_not_know_is_tried_again_and_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, broker: Valkey
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("something of ours")

    monkeypatch.setattr("memrepo.dispatch.connection.send_task", broken)

    def it_is_told(limit_s: float) -> None:
        error = a_write(Settings(broker.url, broker.url, enqueue_timeout_s=limit_s))

        told = f"within {limit_s:g} s: a fault of memrepo itself: RuntimeError: something of ours."
        assert told in str(error)
        assert isinstance(error.__cause__, RuntimeError)
        assert meaning_of(error.__cause__).action is Action.REPORT

    given_time(it_is_told)


def test_asyncio_is_told_alike() -> None:
    async def run(limit_s: float) -> None:
        url = nowhere()
        async with AsyncMemoryRepos(settings=Settings(url, url, enqueue_timeout_s=limit_s)) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a": "x"}, "m", request_id=ID)
            with pytest.raises(
                BrokerUnavailableError, match="nobody listens there: Connection refused"
            ) as caught:
                await job
        assert isinstance(caught.value.__cause__, redis.ConnectionError)

    given_time(lambda limit_s: asyncio.run(run(limit_s)))


def test_who_asks_a_job_that_the_broker_has_not_taken_is_told_why() -> None:
    async def run(limit_s: float) -> None:
        url = nowhere()
        async with AsyncMemoryRepos(settings=Settings(url, url, enqueue_timeout_s=limit_s)) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
            while "refused" not in job.describe().reason and not job.done():
                await asyncio.sleep(0.02)
            assert (
                job.describe().reason
                == "the broker has not taken it yet: nobody listens there: Connection refused"
            )
            with pytest.raises(BrokerUnavailableError):
                await job

    given_time(lambda limit_s: asyncio.run(run(limit_s)))


def test_a_question_to_a_result_store_that_is_away_is_told_with_its_cause(broker: Valkey) -> None:
    url = nowhere()
    with (
        MemoryRepos(settings=Settings(broker.url, url)) as repos,
        pytest.raises(
            BrokerUnavailableError, match=r"result store at .* cannot be reached: nobody listens"
        ) as caught,
    ):
        repos.job("0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f").status()
    assert isinstance(caught.value.__cause__, redis.ConnectionError)


def test_a_replica_is_waited_for_until_it_is_the_primary(broker: Valkey) -> None:
    with (
        broker.client() as admin,
        MemoryRepos(settings=Settings(broker.url, broker.url, enqueue_timeout_s=20)) as repos,
    ):
        admin.replicaof(LOOPBACK, str(closed_port()))
        promotion = threading.Timer(0.5, admin.replicaof, ("NO", "ONE"))
        promotion.start()
        try:
            job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        finally:
            promotion.join()

        assert job.status() == "queued"


def test_a_request_that_was_never_tried_as_others_took_its_time_is_told_what_they_met() -> None:
    clock, settings = [0.0], Settings(nowhere(), enqueue_timeout_s=1)
    first, behind = (a_message(give_up_at_s=1.0) for _ in range(2))

    def prepare(_: float) -> None:
        if clock[0] == 0.0:
            publisher.send(behind)
        clock[0] = 2.0  # all their time is gone with the first try
        raise redis.ConnectionError(
            "Error 111 connecting to there. Connection refused."
        ) from ConnectionRefusedError(111, "Connection refused")

    publisher = Publisher(settings, prepare, lambda: clock[0])
    publisher.send(first)

    for message in (first, behind):
        with pytest.raises(BrokerUnavailableError, match="Connection refused"):
            message.sent.result(timeout=10)
    publisher.close()


def a_message(give_up_at_s: float) -> Message:
    request = build(
        COMMIT.request, org_id="acme", agent_id="agent-1", request_id=new_id(), enqueued_at=0.0,
        changes=[{"path": "a", "content": "x"}], message="m",
    )  # fmt: skip
    return Message(new_id(), COMMIT.task_name, request, queue_name(0), "memrepo.replies.x", give_up_at_s)
