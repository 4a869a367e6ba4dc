"""What is too large for a message travels beside it: against bare Redis, where each side's part can be seen."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from memrepo import AsyncMemoryRepos, MemoryRepoBusyError, MemoryRepos, ResultExpiredError, Settings
from memrepo.limits import MIB
from memrepo.models import MemoryFile, Snapshot
from memrepo.routing import route
from memrepo.wire.keys import PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, payload_key
from memrepo.wire.operations import GET_FILES
from memrepo.wire.payload import LARGE_BYTES, Payload, PayloadClaim
from memrepo.wire.payload_store import (
    PayloadMissingError,
    PayloadStore,
    request_payload,
    result_payload,
)
from memrepo.wire.record import claiming
from tests.producer.stand_in import SHA, StandIn, claim
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

QUEUE = route("acme", "agent-1")
TEXT = "A line of what an agent keeps in its memory, again and again.\n" * 40_000  # 2.5 MB
NOISE = Random(1).randbytes(5 * MIB // 2)  # three chunks


def chunks(broker: Valkey, bytes_max: int = 64 * MIB) -> PayloadStore:
    return PayloadStore(broker.raw_client(), bytes_max)


def snapshot(data: bytes) -> Snapshot:
    return Snapshot(commit_sha=SHA, files={"a": MemoryFile(path="a", data=data, sha=SHA, size=len(data))})


def lose_chunks(broker: Valkey, name: str, claim: PayloadClaim, first: int) -> None:
    """Have chunks gone from that one on, as when a body goes while it is being fetched."""
    with broker.client() as client:
        assert client.hdel(payload_key(name), *map(str, range(first, claim.chunks)))


def store_large(
    broker: Valkey, worker: StandIn, task_id: str, result: Snapshot, reply_to: str = ""
) -> PayloadClaim:
    claim = chunks(broker).put(result_payload(task_id), GET_FILES.result_to_payload(result), 300)
    worker.store(task_id, "SUCCESS", claiming(claim), reply_to)
    return claim


def test_a_large_commit_leaves_a_small_message(broker: Valkey) -> None:
    with MemoryRepos(broker_url=broker.url) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": TEXT}, "secret message")

        message = client.lindex(QUEUE, 0)
        assert len(message) < 2000
        with StandIn(broker, lambda _: None) as worker:
            [taken] = worker.wait_taken(1)
    assert set(taken.request) == {"org_id", "agent_id", "request_id", "enqueued_at"}
    body = chunks(broker).get(request_payload(job.id), PayloadClaim(**taken.body[1]["body"]))
    assert body.contents == (TEXT.encode(),)
    assert body.value["message"] == "secret message"
    assert body.value["changes"][0]["content"] == {"attached": 0}


def test_what_waits_is_compressed_counted_and_expires(broker: Valkey) -> None:
    with MemoryRepos(broker_url=broker.url) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": TEXT}, "m")

        name = request_payload(job.id)
        taken = sum(client.hstrlen(payload_key(name), field) for field in client.hkeys(payload_key(name)))
        assert taken < len(TEXT) / 10
        assert client.hgetall(PAYLOADS_BYTES_KEY) == {"total": str(taken), name: str(taken)}
        assert 0 < client.ttl(payload_key(name)) <= 24 * 3600
        assert client.zscore(PAYLOADS_UNTIL_KEY, name)


def test_a_small_commit_has_all_in_its_message(broker: Valkey) -> None:
    with MemoryRepos(broker_url=broker.url) as repos:
        repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": "x" * (LARGE_BYTES - 100)}, "m")

        assert broker.client().keys("memrepo:bod*") == []


def test_the_same_body_put_twice_is_there_once(broker: Valkey) -> None:
    body = Payload({}, (TEXT.encode(),))
    first, second = (chunks(broker).put("request:a", body, 60) for _ in range(2))

    assert first == second
    with broker.client() as client:
        assert client.hget(PAYLOADS_BYTES_KEY, "total") == client.hget(PAYLOADS_BYTES_KEY, "request:a")
    assert chunks(broker).get("request:a", first) == body


def test_where_there_is_no_room_the_call_says_so_and_leaves_nothing(broker: Valkey) -> None:
    small = Settings(broker.url, broker.url, bodies_bytes_max=100_000)
    noise = {f"{number}.bin": Random(number).randbytes(60_000) for number in range(4)}
    with MemoryRepos(settings=small) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        with pytest.raises(MemoryRepoBusyError, match="bodies_bytes_max"):
            repo.commit(noise, "m")

        assert client.llen(QUEUE) == 0
        assert client.keys("memrepo:body:*") == []
        assert client.hgetall(PAYLOADS_BYTES_KEY) == {"total": "0"}
        repo.commit({"small.md": "x"}, "goes on")
        assert client.llen(QUEUE) == 1


def test_what_has_expired_makes_room(broker: Valkey) -> None:
    body = Payload({}, (Random(1).randbytes(80_000),))
    chunks(broker).put("request:old", body, 60)
    with broker.client() as client:
        room = int(client.hget(PAYLOADS_BYTES_KEY, "total") or 0)
        client.zadd(PAYLOADS_UNTIL_KEY, {"request:old": 1})  # long ago

        chunks(broker, room).put("request:new", body, 60)

        assert set(client.hgetall(PAYLOADS_BYTES_KEY)) == {"total", "request:new"}
        assert int(client.hget(PAYLOADS_BYTES_KEY, "total") or 0) == room


@pytest.mark.parametrize("first_gone", [0, 1, 2])
def test_a_body_that_is_gone_is_told_as_missing(broker: Valkey, first_gone: int) -> None:
    claim = chunks(broker).put("request:a", Payload({}, (NOISE,)), 60)
    lose_chunks(broker, "request:a", claim, first_gone)

    with pytest.raises(PayloadMissingError):
        chunks(broker).get("request:a", claim)


def test_a_large_result_is_fetched_and_soon_goes(broker: Valkey, worker: StandIn) -> None:
    result = snapshot(TEXT.encode())
    worker.answer = lambda _: None
    with MemoryRepos(broker_url=broker.url) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_files()
        [taken] = worker.wait_taken(1)
        store_large(broker, worker, job.id, result, taken.properties["reply_to"])

        assert job.result(timeout_s=30) == result
        wait_for(lambda: 0 < client.ttl(payload_key(result_payload(job.id))) <= 60, "the body to go soon")
        assert repos.job(job.id).result(timeout_s=30) == result  # still there for who knows the id


@pytest.mark.parametrize("replied", [True, False])
def test_a_large_result_is_awaited(broker: Valkey, worker: StandIn, replied: bool) -> None:
    result = snapshot(TEXT.encode())
    worker.answer = lambda _: None

    async def read() -> Snapshot:
        async with AsyncMemoryRepos(settings=Settings(broker.url, broker.url, poll_interval_s=0.05)) as repos:
            job = repos.repo(org_id="acme", agent_id="agent-1").get_files()
            await job.enqueued()
            [taken] = await asyncio.to_thread(worker.wait_taken, 1)
            store_large(broker, worker, job.id, result, taken.properties["reply_to"] if replied else "")
            async with asyncio.timeout(10):
                return await job

    assert asyncio.run(read()) == result


@pytest.mark.parametrize("first_gone", [0, 1, 2])
def test_a_large_result_that_has_expired_is_told_as_expired(
    broker: Valkey, worker: StandIn, first_gone: int
) -> None:
    with MemoryRepos(broker_url=broker.url) as repos:
        job = repos.job("0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f")
        claim = store_large(broker, worker, job.id, snapshot(NOISE))
        lose_chunks(broker, result_payload(job.id), claim, first_gone)

        with pytest.raises(
            ResultExpiredError, match="MEMREPO_RESULT_URL must be the same for workers and producers"
        ):
            job.result(timeout_s=30)


def test_a_large_request_that_the_broker_lost_is_sent_again_with_its_body(broker: Valkey) -> None:
    quick = Settings(broker.url, broker.url, resend_after_s=0.2, poll_interval_s=0.05)
    claim(broker, QUEUE)
    with MemoryRepos(settings=quick) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": TEXT}, "m")
        client.flushall()
        claim(broker, QUEUE)

        wait_for(lambda: client.llen(QUEUE), "the request to be back")
        assert client.exists(payload_key(request_payload(job.id)))
