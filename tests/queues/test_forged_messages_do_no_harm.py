from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery

from memrepo.limits import MIB
from memrepo.routing import queue_name, shard_of
from memrepo.wire.keys import unacked_key
from memrepo.wire.requests.base import HEAD_FIELDS
from memrepo_worker.queues.transport.messages import HEAD_BYTES_MAX
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet


def other_queue(org: str, agent: str) -> str:
    return queue_name((shard_of(org, agent, SHARDS) + 1) % SHARDS)


def failure(send: Sender, task_id: str) -> tuple[str, str]:
    meta = send.final(task_id)
    assert meta["status"] == "FAILURE"
    return meta["result"]["exc_type"], meta["result"]["exc_message"][0]


def body(**changes: object) -> list[object]:
    values = commit_request("acme", "a").model_dump(mode="json")
    return [[], {"request": {**values, **changes}}, {}]


@pytest.mark.parametrize(
    ("forged", "field"),
    [
        pytest.param(body(agent_id="../../x"), "agent_id", id="an agent outside its org"),
        pytest.param(
            body(changes=[{"path": "../x", "content": {"utf8": "x"}}]), "changes", id="a path outside"
        ),
        pytest.param(body(message=7), "message", id="a wrong type"),
        pytest.param(body(surprise=1), "surprise", id="an unknown field"),
        pytest.param([[], {"request": "text"}, {}], "request", id="no mapping"),
        pytest.param([[], {}, {}], "request", id="no request"),
        pytest.param([[1], {"request": {}}, {}], "request", id="a positional argument"),
        pytest.param([[], [], {}], "request", id="arguments that are no mapping"),
    ],
)
def test_a_request_of_the_wrong_shape_fails_as_its_own_job(
    send: Sender, forged: list[object], field: str
) -> None:
    task_id = send.send(commit_request("acme", "a"), body=forged)

    name, message = failure(send, task_id)

    assert name == "InvalidRequestError"
    assert message.startswith(field)


def test_a_request_in_another_agents_queue_is_refused(send: Sender) -> None:
    task_id = send.send(commit_request("acme", "a"), queue=other_queue("acme", "a"))

    assert failure(send, task_id)[0] == "InvalidRequestError"


def counter(broker: Valkey, name: str) -> int:
    from celery import Celery

    app = Celery(broker=broker.url, set_as_current=False)
    app.conf.broker_transport_options = {"priority_steps": [0]}
    with app.connection_for_write() as connection:
        replies = app.control.inspect(timeout=30, limit=1, connection=connection)._request("memrepo_counters")
    return sum(counts.get(name, 0) for counts in (replies or {}).values())


def not_a_list(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return b'{"a": 1}', "application/json", headers


def not_json(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return b"[[], {SECRET-CONTENT", "application/json", headers


def a_pickle(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return pickle.dumps("SECRET-CONTENT"), "application/x-python-serialize", headers


def an_unknown_task(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return b"[[], {}, {}]", "application/json", {**headers, "task": "os.system"}


def nested_too_deeply(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return b"[" * 100_000, "application/json", headers


def no_task(headers: dict[str, object]) -> tuple[bytes, str, dict[str, object]]:
    return b'"SECRET-CONTENT"', "application/json", {"id": headers["id"]}


@pytest.mark.parametrize(
    "forge", [not_a_list, not_json, a_pickle, an_unknown_task, nested_too_deeply, no_task]
)
def test_a_message_that_is_no_request_is_counted_and_the_queue_goes_on(
    send: Sender,
    broker: Valkey,
    workers: WorkerFleet,
    forge: Callable[[dict[str, object]], tuple[bytes, str, dict[str, object]]],
) -> None:
    before = counter(broker, "intake.refused")
    task_id = str(uuid4())
    raw, content_type, headers = forge({"task": "memrepo.commit", "id": task_id})
    queue = queue_name(shard_of("acme", "a", SHARDS))
    send.producer.publish(
        raw, routing_key=queue, content_type=content_type, content_encoding="binary", headers=headers
    )

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    wait_for(lambda: counter(broker, "intake.refused") == before + 1, "the refusal to be counted")
    assert failure(send, task_id)[0] == "InvalidRequestError"
    assert "SECRET-CONTENT" not in workers.workers[0].output


@pytest.mark.parametrize(
    "task", sorted(name for name in Celery(set_as_current=False).tasks if name.startswith("celery."))
)
def test_a_task_of_celerys_own_is_refused(
    send: Sender, broker: Valkey, task: str, effects: redis.Redis
) -> None:
    elsewhere = {"task": "memrepo.commit", "args": [], "kwargs": {}, "options": {"queue": "elsewhere"}}
    forged = [[], {"task": elsewhere, "it": [[1], [2]], "kwargs": {}, "tasks": [elsewhere]}, {}]
    headers = {"task": task, "id": str(uuid4())}

    task_id = send.send(commit_request("acme", "a"), body=forged, headers=headers, task_id=headers["id"])

    name, message = failure(send, task_id)
    assert (name, message) == ("InvalidRequestError", "message: is not one of this worker's requests")
    assert broker.client().llen("elsewhere") == 0
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"


def memory_peak_bytes(pid: int) -> int:
    """The most memory that a process ever had, as the kernel counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


@pytest.mark.parametrize("shape", ["an envelope", "no envelope"])
def test_a_message_of_100_mib_takes_no_memory_of_the_worker(
    send: Sender, broker: Valkey, workers: WorkerFleet, shape: str
) -> None:
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"  # all that is loaded late is there
    refused, peak = counter(broker, "intake.refused"), memory_peak_bytes(workers.workers[0].pid)
    filler = "A" * (100 * MIB)
    properties = '"properties": {"body_encoding": "base64", "correlation_id": "forged", "delivery_tag": "t"}'
    envelope = (
        f'{{"body": "{filler}", "headers": {{"task": "memrepo.commit", "id": "forged"}}, {properties}}}'
    )
    with broker.client() as client:
        client.lpush(
            queue_name(shard_of("acme", "a", SHARDS)), envelope if shape == "an envelope" else filler
        )

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    wait_for(lambda: counter(broker, "intake.refused") == refused + 1, "the refusal to be counted")
    assert memory_peak_bytes(workers.workers[0].pid) - peak < 16 * MIB


def test_a_message_that_would_unpack_to_a_gigabyte_is_not_unpacked(
    send: Sender, broker: Valkey, workers: WorkerFleet
) -> None:
    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    refused, peak = counter(broker, "intake.refused"), memory_peak_bytes(workers.workers[0].pid)
    packer = zlib.compressobj()
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(1024)) + packer.flush()
    send.producer.publish(
        bomb,
        routing_key=queue_name(shard_of("acme", "a", SHARDS)),
        content_type="application/json",
        content_encoding="binary",
        headers={"task": "memrepo.commit", "id": "forged", "compression": "application/x-gzip"},
    )

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    wait_for(lambda: counter(broker, "intake.refused") == refused + 1, "the refusal to be counted")
    assert memory_peak_bytes(workers.workers[0].pid) - peak < 16 * MIB


def test_a_forged_message_cannot_make_the_worker_send_others(send: Sender, broker: Valkey) -> None:
    link = {"task": "x", "args": [], "kwargs": {}, "options": {"queue": "elsewhere"}, "immutable": True}
    values = commit_request("acme", "a")
    forged = [[], {"request": values.model_dump(mode="json")}, {"callbacks": [link], "chain": [link]}]

    assert send.final(send.send(values, body=forged))["status"] == "SUCCESS"

    assert broker.client().llen("elsewhere") == 0
    assert "elsewhere" not in json.dumps(send.meta(values.request_id))


@pytest.mark.parametrize(
    "raw",
    [
        "SECRET-CONTENT",
        "[]",
        "{}",
        "[" * 1_000,
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"properties": {"body_encoding": "base64"}, "headers": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}",
        "\xff\xfe",
        '{"properties": {}, "headers": null, "body": ""}',
        '{"properties": {}, "headers": {"task": ["x"]}, "body": ""}',
        '{"properties": {"body_encoding": "base64"}, "headers": {}, "body": "%"}',
        '{"properties": {"body_encoding": "rot13"}, "headers": {}, "body": "x"}',
        '{"properties": 7, "headers": {}, "body": "x"}',
    ],
    ids=lambda raw: raw[:40],
)
def test_what_is_not_even_an_envelope_is_counted_and_dropped(
    send: Sender, broker: Valkey, workers: WorkerFleet, raw: str
) -> None:
    before = counter(broker, "intake.refused")
    queue = queue_name(shard_of("acme", "a", SHARDS))
    broker.client().lpush(queue, raw.encode("latin-1"))

    assert send.final(send.commit("acme", "a"))["status"] == "SUCCESS"
    wait_for(lambda: counter(broker, "intake.refused") == before + 1, "the refusal to be counted")
    wait_for(lambda: broker.client().hlen(unacked_key(queue)) == 0, "the message to be gone")
    assert "SECRET-CONTENT" not in workers.workers[0].output


def test_a_request_whose_headers_are_large_is_dropped_and_one_of_a_large_body_served(
    send: Sender, broker: Valkey
) -> None:
    before = counter(broker, "intake.refused")
    queue = queue_name(shard_of("acme", "a", SHARDS))
    for header in ("x" * 1000, "x" * HEAD_BYTES_MAX):
        broker.client().lpush(queue, envelope(VALID, {"of somebody else": header}))

    assert send.final(send.commit("acme", "a", content=b"x" * 200_000))["status"] == "SUCCESS"
    wait_for(lambda: counter(broker, "intake.refused") == before + 1, "one refusal to be counted")


HALF = "\ud800"
NO_TEXTS = [HALF, ["x"], {"a": 1}, 12, True]
NO_IDS = [HALF, ["x"], {"a": 1}, 12, None, "", "x" * 256]
NO_TIMES: list[object] = ["NaN", float("nan"), 1e300, HALF, ["x"], {}, "0001-01-01T00:00:00"]
NO_NUMBERS: list[object] = [
    10**400,
    10**4000,
    -1,
    -(10**400),
    1e308,
    float("nan"),
    float("-inf"),
    True,
    "1",
    "NaN",
]
VALID: dict[str, object] = {}
INVALID: dict[str, object] = {"message": 7}


def envelope(
    request: dict[str, object],
    headers: dict[str, object] | None = None,
    properties: dict[str, object] | None = None,
    body_claim: dict[str, object] | None = None,
) -> str:
    task_id = str(uuid4())
    args, kwargs, rest = body(**request)
    assert isinstance(kwargs, dict)
    if body_claim is not None:
        head = {name: kwargs["request"][name] for name in HEAD_FIELDS}
        kwargs = {"request": head, "body": body_claim}
    forged = base64.b64encode(json.dumps([args, kwargs, rest]).encode()).decode()
    return json.dumps(
        {
            "body": forged,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "any", "task": "memrepo.commit", "id": task_id, **(headers or {})},
            "properties": {"correlation_id": task_id, "body_encoding": "base64", **(properties or {})},
        }
    )


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param(
            [envelope(request, properties={"reply_to": no_text}) for no_text in NO_TEXTS],
            id=f"reply_to is no text, {name}",
        )
        for name, request in (("valid", VALID), ("invalid", INVALID))
    ]
    + [
        pytest.param(
            [envelope(request, properties={"correlation_id": no_text}) for no_text in NO_TEXTS],
            id=f"correlation_id is no text, {name}",
        )
        for name, request in (("valid", VALID), ("invalid", INVALID))
    ]
    + [
        pytest.param(
            [envelope(request, {"task": task, "id": no_id}) for no_id in NO_IDS], id=f"id is none, {name}"
        )
        for name, task, request in (
            ("valid", "memrepo.commit", VALID),
            ("invalid", "memrepo.commit", INVALID),
            ("unknown", "os.system", VALID),
        )
    ]
    + [
        pytest.param(
            [envelope(VALID, {"expires": expires}) for expires in NO_TIMES],
            id="expires is no time",
        ),
        pytest.param(
            [
                envelope(VALID, {field: value})
                for field in (
                    "root_id",
                    "parent_id",
                    "group",
                    "origin",
                    "eta",
                    "retries",
                    "timelimit",
                    "shadow",
                )
                for value in (HALF, ["x"], {"a": 1}, *NO_NUMBERS)
            ],
            id="other headers",
        ),
        pytest.param(
            [
                envelope(request, properties={field: value})
                for field in ("priority", "delivery_mode", "delivery_info", "redelivered")
                for value in NO_NUMBERS
                for request in (VALID, INVALID)
            ],
            id="properties",
        ),
        pytest.param(
            [envelope(VALID, {"memrepo_version": value}) for value in NO_NUMBERS],
            id="the version of a message",
        ),
        pytest.param(
            [
                envelope(VALID, body_claim={"chunks": 1, "size_bytes": 9, field: value})
                for field in ("chunks", "size_bytes")
                for value in NO_NUMBERS
            ],
            id="what a message says of its body",
        ),
        pytest.param(
            [
                envelope({field: value})
                for field in ("request_id", "message", "org_id", "author", "enqueued_at")
                for value in (HALF, *NO_NUMBERS)
            ],
            id="fields of the request",
        ),
    ],
)
def test_no_value_of_a_forged_message_keeps_others_waiting(
    send: Sender, broker: Valkey, messages: list[str]
) -> None:
    queue = queue_name(shard_of("acme", "a", SHARDS))
    with broker.client() as client:
        for message in messages:
            client.lpush(queue, message)

        sent = [send.commit("acme", f"other-{number}") for number in range(16)]

        assert {send.final(task_id)["status"] for task_id in sent} == {"SUCCESS"}
        keys = [unacked_key(queue_name(shard)) for shard in range(SHARDS)]
        wait_for(
            lambda: client.llen(queue) == 0 and not any(map(client.hlen, keys)), "all to be acknowledged"
        )
