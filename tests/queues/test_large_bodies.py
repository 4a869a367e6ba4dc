"""Requests whose body travels beside the message, as the worker meets them; and large results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
import redis

from memrepo import MemoryRepoBusyError, MemoryRepos, ResultExpiredError, Settings
from memrepo.limits import KIB, MIB, REQUEST_KEPT_S, Limits
from memrepo.models import MemoryFile, Snapshot
from memrepo.wire.keys import PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, payload_key
from memrepo.wire.operations import GET_FILES, request_to_payload
from memrepo.wire.payload import CHUNK_BYTES_MAX, Payload, PayloadClaim
from memrepo.wire.payload_store import (
    PayloadStore,
    request_payload,
    result_payload,
)
from memrepo.wire.requests.base import HEAD_FIELDS
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.group import Agent, Success
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.payloads import KeepingRules, Payloads
from memrepo_worker.settings import WorkerSettings
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for
from tests.support.workers import fleet

REAL_SERVICE = "tests.support.real_service:real_service"


@pytest.fixture
def chunks(broker: Valkey) -> PayloadStore:
    return PayloadStore(broker.raw_client(), 512 * MIB)


def large_commit(size: int = 3 * MIB) -> CommitRequest:
    return commit_request("acme", "a", content=Random(1).randbytes(size))


def send_claiming(send: Sender, chunks: PayloadStore, request: CommitRequest, claim: object) -> str:
    """Enqueue a large request with another claim than its own."""
    chunks.put(request_payload(request.request_id), request_to_payload(request), REQUEST_KEPT_S)
    head = request.model_dump(mode="json", include=set(HEAD_FIELDS))
    return send.send(request, body=[[], {"request": head, "body": claim}, {}])


@pytest.fixture(autouse=True)
def none_before(broker: Valkey) -> None:
    """What other tests have put beside their messages is not there, nor counted."""
    with broker.client() as client:
        left = client.keys(payload_key("*"))
        client.delete(PAYLOADS_BYTES_KEY, PAYLOADS_UNTIL_KEY, *left)


def bodies_left(broker: Valkey) -> list[str]:
    with broker.client() as client:
        return [str(key) for key in client.keys(payload_key("request:*"))]


def counted(broker: Valkey) -> dict[str, str]:
    with broker.client() as client:
        return dict(client.hgetall(PAYLOADS_BYTES_KEY))


def test_a_large_commit_is_applied_and_its_body_goes(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    request = large_commit()

    assert send.final(send.send(request))["status"] == "SUCCESS"

    assert effects.lrange("effects:acme/a", 0, -1) == [request.request_id]
    wait_for(lambda: bodies_left(broker) == [], "the body to go")
    assert counted(broker) == {"total": "0"}


def test_large_and_small_ones_keep_their_order(send: Sender, effects: redis.Redis) -> None:
    requests = [
        large_commit(200_000) if number % 3 == 0 else commit_request("acme", "a") for number in range(12)
    ]
    for request in requests:
        send.send(request)

    for request in requests:
        assert send.final(request.request_id)["status"] == "SUCCESS"
    assert effects.lrange("effects:acme/a", 0, -1) == [request.request_id for request in requests]


def test_a_large_request_that_was_cancelled_leaves_no_body(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    request = large_commit()
    with MemoryRepos(settings=Settings(broker.url, broker.url, shards=SHARDS)) as repos:
        repos.job(request.request_id).cancel()
        send.send(request)

        wait_for(lambda: bodies_left(broker) == [], "the body to go")
    assert effects.exists("effects:acme/a") == 0
    assert send.final(request.request_id)["status"] == "REVOKED"


def test_one_that_was_settled_before_leaves_no_body_and_is_told_the_same(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    request = large_commit()
    first = send.final(send.send(request))

    send.send(request)
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"

    wait_for(lambda: bodies_left(broker) == [], "the second body to go")
    assert send.meta(request.request_id) == first
    assert effects.llen("effects:acme/a") == 2


@pytest.mark.parametrize("lost", ["0", "1"], ids=["from its beginning", "from a later chunk on"])
def test_a_request_that_has_lost_its_body_is_as_if_it_had_been_lost(
    send: Sender, broker: Valkey, chunks: PayloadStore, effects: redis.Redis, lost: str
) -> None:
    request = large_commit()
    effects.set("hold:acme/b", 1)
    with broker.client() as client:
        own = chunks.put(request_payload(request.request_id), request_to_payload(request), 60)
        assert client.hdel(payload_key(request_payload(request.request_id)), lost)
        head = request.model_dump(mode="json", include=set(HEAD_FIELDS))
        send.send(request, body=[[], {"request": head, "body": own.model_dump()}, {}])
        assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"  # the queue goes on

        wait_for(lambda: send.meta(request.request_id) is None, "the record to be gone")
        assert effects.llen("effects:acme/a") == 1
        client.delete(payload_key(request_payload(request.request_id)), PAYLOADS_BYTES_KEY)
    assert send.final(send.send(request))["status"] == "SUCCESS"  # sent again, with its body


Forgery = Callable[[PayloadClaim], object]


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda _: "text", id="no mapping"),
        pytest.param(lambda _: {}, id="nothing"),
        pytest.param(lambda own: {"chunks": "2", "size_bytes": own.size_bytes}, id="a text for a number"),
        pytest.param(lambda own: {"chunks": -1, "size_bytes": own.size_bytes}, id="a negative number"),
        pytest.param(lambda own: {**own.model_dump(), "key": "memrepo:owners"}, id="a key of its own"),
        pytest.param(
            lambda own: {"chunks": own.chunks, "size_bytes": own.size_bytes - 1}, id="too few bytes"
        ),
        pytest.param(
            lambda own: {"chunks": own.chunks, "size_bytes": own.size_bytes + 1}, id="too many bytes"
        ),
        pytest.param(
            lambda own: {"chunks": own.chunks - 1, "size_bytes": own.size_bytes}, id="too few chunks"
        ),
        pytest.param(lambda own: {"chunks": 10**9, "size_bytes": own.size_bytes}, id="too many chunks"),
        pytest.param(lambda own: {"chunks": own.chunks, "size_bytes": 10**12}, id="a terabyte"),
    ],
)
def test_a_forged_claim_fails_as_its_own_job(
    send: Sender, broker: Valkey, chunks: PayloadStore, effects: redis.Redis, forge: Forgery
) -> None:
    request = large_commit()
    own = chunks.put("request:measure", request_to_payload(request), 60)
    chunks.remove(["request:measure"])

    meta = send.final(send_claiming(send, chunks, request, forge(own)))

    assert meta["result"]["exc_type"] in {"InvalidRequestError", "TooLargeError"}
    assert meta["result"]["exc_message"][1]["field"] == "body"
    wait_for(lambda: bodies_left(broker) == [], "the body to go")
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param(Payload([1, 2]), "body", id="no mapping"),
        pytest.param(Payload({}), "changes", id="no changes"),
        pytest.param(
            Payload({"org_id": "other", "changes": [], "message": "m"}), None, id="another org inside"
        ),
        pytest.param(
            Payload({"changes": [{"path": "../x", "content": None}], "message": "m"}),
            "changes[0].path",
            id="path",
        ),
        pytest.param(
            Payload({"changes": [{"path": "x", "content": {"attached": 1}}], "message": "m"}, (b"x",)),
            "changes[0].content",
            id="a content that is not there",
        ),
        pytest.param(
            Payload({"changes": [{"path": "x", "content": {"attached": -1}}], "message": "m"}, (b"x",)),
            "changes[0].content",
            id="a content from behind",
        ),
        pytest.param(
            Payload(
                {"changes": [{"path": "x", "content": {"attached": 0}}], "message": "m"}, (bytes(9 * MIB),)
            ),
            "changes[0].content",
            id="a content that is too large",
        ),
    ],
)
def test_what_is_in_a_forged_body_is_checked(
    send: Sender, chunks: PayloadStore, effects: redis.Redis, body: Payload, field: str | None
) -> None:
    request = commit_request("acme", "a")
    claim = chunks.put(request_payload(request.request_id), body, 60)
    head = request.model_dump(mode="json", include=set(HEAD_FIELDS))

    meta = send.final(send.send(request, body=[[], {"request": head, "body": claim.model_dump()}, {}]))

    if field is None:  # the head counts: it is what the queue was chosen by
        assert meta["status"] == "SUCCESS"
        assert effects.llen("effects:acme/a") == 1
    else:
        assert meta["result"]["exc_message"][1]["field"] == field


def test_a_chunk_larger_than_any_is_not_even_fetched(
    send: Sender, broker: Valkey, chunks: PayloadStore, effects: redis.Redis
) -> None:
    request = commit_request("acme", "a")
    with broker.client() as client:
        client.hset(payload_key(request_payload(request.request_id)), "0", "x" * (CHUNK_BYTES_MAX + 1))
    head = request.model_dump(mode="json", include=set(HEAD_FIELDS))
    claim = {"chunks": 1, "size_bytes": 1000}
    send.send(request, body=[[], {"request": head, "body": claim}, {}])

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    assert request.request_id not in effects.lrange("effects:acme/a", 0, -1)


def test_a_body_that_is_no_body_holds_nothing_up(send: Sender, broker: Valkey, effects: redis.Redis) -> None:
    request = commit_request("acme", "a")
    with broker.client() as client:
        client.set(payload_key(request_payload(request.request_id)), "a text")
    head = request.model_dump(mode="json", include=set(HEAD_FIELDS))
    send.send(request, body=[[], {"request": head, "body": {"chunks": 1, "size_bytes": 1000}}, {}])

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    assert request.request_id not in effects.lrange("effects:acme/a", 0, -1)


class Named(NamedTuple):
    id: str
    agent: Agent = Agent("acme", "a")
    claim: None = None
    owned_shard: OwnedShard = OwnedShard(0, "token", 0.0)


def payloads(
    client: redis.Redis,
    bytes_max: int = 64 * MIB,
    agent_bytes_max: int = 64 * MIB,
    counters: Counters | None = None,
) -> Payloads:
    return Payloads(
        client,
        client,
        lambda step, args, _: step(*args),
        Limits(),
        counters or Counters(),
        KeepingRules(bytes_max, agent_bytes_max, result_kept_s=60, together=False),
    )


def told_of(bodies: Payloads, agent_id: str, number: int, size: int = 60 * KIB) -> object:
    """Read that many bytes for an agent; return what the record says."""
    read = Named(f"{agent_id}-{number}", Agent("acme", agent_id))
    return bodies.encode_result(read, GET_FILES, Success(snapshot(Random(number).randbytes(size))))


def is_apart(told: object) -> bool:
    return isinstance(told, dict) and set(told) == {"body"}


def test_what_one_agent_reads_and_does_not_fetch_is_bounded_and_harms_no_other(
    broker: Valkey, chunks: PayloadStore
) -> None:
    counters = Counters()
    bodies = payloads(broker.raw_client(), agent_bytes_max=256 * KIB, counters=counters)

    hostile = [told_of(bodies, "hostile", number) for number in range(1000)]

    kept = [told for told in hostile if is_apart(told)]
    refused = [told for told in hostile if isinstance(told, MemoryRepoBusyError)]
    assert len(kept) == 4
    assert len(refused) == 996
    assert "agent_results_bytes_max" in refused[0].message
    assert counters.snapshot()["bounds.agent_results_bytes"] == 996
    assert int(counted(broker)["agent:acme/hostile"]) < 256 * KIB
    assert is_apart(told_of(bodies, "healthy", 1))

    chunks.remove([result_payload(f"hostile-{number}") for number in range(4)])
    assert is_apart(told_of(bodies, "hostile", 1001))


def test_a_small_result_stays_in_its_record_and_a_larger_read_lies_beside_it(broker: Valkey) -> None:
    bodies = payloads(broker.raw_client())

    assert not is_apart(told_of(bodies, "small", 1, size=2 * KIB))
    assert is_apart(told_of(bodies, "large", 1, size=10 * KIB))
    with broker.client() as client:
        assert 0 < client.ttl(payload_key(result_payload("large-1"))) <= 60


def test_where_others_have_filled_the_broker_a_read_that_fits_its_record_is_told_there(
    broker: Valkey,
) -> None:
    bodies = payloads(broker.raw_client(), bytes_max=100 * KIB)
    assert is_apart(told_of(bodies, "others", 1, size=90 * KIB))

    told = told_of(bodies, "healthy", 1, size=30 * KIB)

    assert isinstance(told, dict)
    assert not is_apart(told)


def test_nothing_is_counted_any_more_once_all_is_fetched_and_gone(
    broker: Valkey, chunks: PayloadStore
) -> None:
    bodies = payloads(broker.raw_client())
    told_of(bodies, "one", 1)
    told_of(bodies, "one", 1)
    told_of(bodies, "one", 2)

    chunks.remove([result_payload("one-1"), result_payload("one-2")])

    assert counted(broker) == {"total": "0"}


def test_a_result_that_an_earlier_owner_left_is_not_mixed_with_ones_own(
    broker: Valkey, chunks: PayloadStore
) -> None:
    client = broker.raw_client()
    bodies = payloads(client)
    encode_result = [
        bodies.encode_result(Named("a-job"), GET_FILES, Success(snapshot(Random(seed).randbytes(size))))
        for seed, size in ((1, 3 * MIB), (2, 2 * MIB))
    ]

    told = encode_result[1]
    assert isinstance(told, dict)
    body = chunks.get(result_payload("a-job"), PayloadClaim.model_validate(told["body"]))
    assert GET_FILES.result_from_payload(body) == snapshot(Random(2).randbytes(2 * MIB))


def snapshot(data: bytes) -> Snapshot:
    return Snapshot(
        commit_sha="a" * 40, files={"a": MemoryFile(path="a", data=data, sha="b" * 40, size=len(data))}
    )


def test_a_large_read_for_whose_result_there_is_no_room_says_so(broker: Valkey, tmp_path: Path) -> None:
    """With the real service; the broker's other database is its own system."""
    settings = WorkerSettings(
        broker_url=broker.database(3),
        result_url=broker.database(3),
        bodies_bytes_max=1_000_000,
    )
    noise = {f"{number}.bin": Random(number).randbytes(400_000) for number in range(4)}
    client = Settings(settings.broker_url, settings.result_url)
    with (
        fleet(tmp_path / "fleet", settings, REAL_SERVICE, {"folder": str(tmp_path), "delay_s": 0}) as running,
        MemoryRepos(settings=client) as repos,
    ):
        running.start()
        repo = repos.repo(org_id="acme", agent_id="a")
        for path, data in noise.items():
            repo.commit({path: data}, "m", create_repo_if_missing=True).result(timeout_s=30)

        with pytest.raises(MemoryRepoBusyError, match="bodies_bytes_max"):
            repo.get_files().result(timeout_s=30)
        assert len(repo.get_files(paths=["0.bin", "1.bin"]).result(timeout_s=30)) == 2


def test_a_result_that_is_kept_elsewhere_is_told_with_both_places(
    broker: Valkey, settings: WorkerSettings, tmp_path: Path
) -> None:
    """Replies are heard in every database of a server, so small results arrive all the same."""
    kept = broker.database(3)
    values = replace(settings, broker_url=broker.database(2), result_url=kept)
    argument = {"folder": str(tmp_path), "delay_s": 0.0}
    with (
        fleet(tmp_path / "logs", values, REAL_SERVICE, argument) as workers,
        MemoryRepos(settings=Settings(values.broker_url, values.broker_url, shards=SHARDS)) as repos,
    ):
        workers.start("w1")
        memory = repos.repo(org_id="acme", agent_id="elsewhere")
        memory.commit({"a": Random(2).randbytes(300_000)}, "m", create_repo_if_missing=True).result(20)

        with pytest.raises(ResultExpiredError) as told:
            memory.get_files().result(timeout_s=20)

    message = str(told.value)
    assert f"the worker keeps it at {kept}, and this client looks at {values.broker_url}." in message
    assert "MEMREPO_RESULT_URL must be the same" in message
