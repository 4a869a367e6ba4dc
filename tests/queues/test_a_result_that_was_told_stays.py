"""A large result stays as it was told, whatever a worker does that was frozen meanwhile and wakes up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, cast

import pytest
import redis

from memrepo.limits import MIB, Limits
from memrepo.models import MemoryFile, Snapshot
from memrepo.wire.keys import OWNERS_KEY, PAYLOADS_BYTES_KEY, payload_key, record_key
from memrepo.wire.operations import GET_FILES
from memrepo.wire.payload import PayloadClaim
from memrepo.wire.payload_store import PayloadStore, result_payload
from memrepo_worker.group import Agent, Success
from memrepo_worker.observe import Counters
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.results.payloads import KeepingRules, Payloads
from tests.support.valkey import Valkey, valkey

TASK = "task"
CHUNKS = 3
SIZE_BYTES = CHUNKS * MIB - 10_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: Valkey) -> redis.Redis:
    client = server.raw_client()
    client.flushdb()
    client.hset(OWNERS_KEY, "0", "first one")
    return client


class Answered(NamedTuple):
    owned_shard: OwnedShard
    id: str = TASK
    agent: Agent = Agent("acme", "a")
    claim: None = None


FIRST, NEXT = (Answered(OwnedShard(0, token, 0.0)) for token in ("first", "next"))


@dataclass
class Frozen:
    """A server's client whose worker is frozen before a call, counted from 0, and wakes when all else is done."""

    client: redis.Redis
    before_call: int
    meanwhile: Callable[[], object]

    def evalsha(self, *args: Any) -> object:
        self.before_call -= 1
        if self.before_call == -1:
            self.meanwhile()
        return self.client.evalsha(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


def result(seed: int, size_bytes: int = SIZE_BYTES) -> Success:
    data = Random(seed).randbytes(size_bytes)
    file = MemoryFile(path="a", data=data, sha="f" * 40, size=size_bytes)
    return Success(Snapshot(commit_sha="c" * 40, files={"a": file}))


def tell(
    client: Any, job: Answered, success: Success, *, together: bool = True, bytes_max: int = 64 * MIB
) -> object:
    """Put a result as the owner of a job's shard does; return what the record is to say."""
    rules = KeepingRules(bytes_max, bytes_max, result_kept_s=60, together=together)
    step = cast("Any", lambda step, args, _: step(*args))
    return Payloads(client, client, step, Limits(), Counters(), rules).encode_result(job, GET_FILES, success)


def take_over(client: redis.Redis) -> None:
    client.hset(OWNERS_KEY, "0", "next two")


def note_told(client: redis.Redis) -> None:
    client.set(record_key(TASK), '{"status": "SUCCESS", "result": {}}')


def read(client: redis.Redis, told: object) -> Snapshot:
    """Fetch a result as a client does that was told this."""
    claim = PayloadClaim.model_validate(
        {k: v for k, v in cast("Any", told)["body"].items() if k != "kept_at"}
    )
    found = PayloadStore(client, 64 * MIB).get(result_payload(TASK), claim)
    return GET_FILES.result_from_payload(found)


@pytest.mark.parametrize("together", [True, False], ids=["one server", "two servers"])
@pytest.mark.parametrize("frozen_before", range(CHUNKS))
@pytest.mark.parametrize("more_bytes", [0, MIB], ids=["as large", "larger"])
def test_what_the_next_owner_has_told_is_read_whatever_the_one_before_was_at(
    client: redis.Redis, frozen_before: int, more_bytes: int, *, together: bool
) -> None:
    told: list[object] = []

    def answer_meanwhile() -> None:
        take_over(client)
        told.append(tell(client, NEXT, result(2), together=together))
        note_told(client)

    frozen = Frozen(client, frozen_before, answer_meanwhile)
    tell(frozen, FIRST, result(1, SIZE_BYTES + more_bytes), together=together)

    assert read(client, told[0]) == result(2).value
    assert client.hlen(payload_key(result_payload(TASK))) == CHUNKS


@pytest.mark.parametrize("frozen_before", range(CHUNKS))
def test_what_the_next_owner_is_going_to_tell_is_read_as_it_is(
    client: redis.Redis, frozen_before: int
) -> None:
    told: list[object] = []

    def put_meanwhile() -> None:
        take_over(client)
        told.append(tell(client, NEXT, result(2)))

    tell(Frozen(client, frozen_before, put_meanwhile), FIRST, result(1))
    note_told(client)

    assert read(client, told[0]) == result(2).value


@pytest.mark.parametrize("frozen_before", range(1, CHUNKS))
def test_the_next_owners_result_is_whole_though_one_comes_between_its_chunks_who_owns_no_more(
    client: redis.Redis, frozen_before: int
) -> None:
    take_over(client)

    told = tell(Frozen(client, frozen_before, lambda: tell(client, FIRST, result(1))), NEXT, result(2))

    assert read(client, told) == result(2).value


def test_what_was_told_and_is_told_again_is_not_written_again(client: redis.Redis) -> None:
    told = tell(client, FIRST, result(1))
    note_told(client)
    client.expire(payload_key(result_payload(TASK)), 10)

    tell(client, FIRST, result(1))

    assert read(client, told) == result(1).value
    assert client.ttl(payload_key(result_payload(TASK))) <= 10


def test_what_has_no_room_is_gone_with_its_first_chunks(client: redis.Redis) -> None:
    told = tell(client, FIRST, result(1), bytes_max=2 * MIB)

    assert not isinstance(told, dict)
    assert not client.exists(payload_key(result_payload(TASK)))
    assert client.hgetall(PAYLOADS_BYTES_KEY) in ({b"total": b"0"}, {})
