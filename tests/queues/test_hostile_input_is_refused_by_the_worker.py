"""The worker refuses by itself what no producer of ours would send."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import redis

from memrepo.limits import MIB, REQUEST_KEPT_S
from memrepo.routing import route
from memrepo.wire.operations import TASK_PREFIX
from memrepo.wire.payload import Payload
from memrepo.wire.payload_store import PayloadStore, request_payload
from memrepo.wire.requests.base import HEAD_FIELDS
from tests.queues.conftest import SHARDS
from tests.support.sending import Sender
from tests.support.valkey import Valkey
from tests.unit.producer.hostile import HOSTILE, Hostile

QUEUE = route("acme", "agent-1", SHARDS)


def push(send: Sender, chunks: PayloadStore, case: Hostile) -> str:
    """Put a case into a queue as a forger would, what is large as a body; return its task id."""
    task_id, request = str(uuid4()), case.request
    kwargs: dict[str, Any] = {"request": request}
    if len(json.dumps(request)) > MIB:
        rest = {name: value for name, value in request.items() if name not in HEAD_FIELDS}
        claim = chunks.put(request_payload(task_id), Payload(rest), REQUEST_KEPT_S)
        kwargs = {"request": {name: request[name] for name in HEAD_FIELDS}, "body": claim.model_dump()}
    send.producer.publish(
        [[], kwargs, {}],
        routing_key=QUEUE,
        serializer="json",
        correlation_id=task_id,
        headers={"lang": "py", "task": TASK_PREFIX + case.operation, "id": task_id, "kwargsrepr": ""},
    )
    return task_id


def test_each_case_ends_as_a_failed_job_that_names_the_field(
    send: Sender, broker: Valkey, effects: redis.Redis
) -> None:
    chunks = PayloadStore(broker.raw_client(), 512 * MIB)
    pushed = [(case, push(send, chunks, case)) for case in HOSTILE]

    wrong = []
    for case, task_id in pushed:
        meta = send.final(task_id, timeout_s=60)
        message, details = meta["result"]["exc_message"] if meta["status"] == "FAILURE" else ("", {})
        if details.get("field") != case.field:
            wrong.append((case.name, meta["status"], message[:80]))
    assert wrong == []
    assert len(pushed) >= 150
    begun = [str(id_) for entry in effects.lrange("begun", 0, -1) for id_ in json.loads(entry)["ids"]]
    ours = {task_id for _, task_id in pushed} | {str(case.request["request_id"]) for case in HOSTILE}
    assert ours.isdisjoint(begun)
    assert send.final(send.commit("acme", "agent-1"))["status"] == "SUCCESS"
