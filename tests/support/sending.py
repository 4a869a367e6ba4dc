"""A bare producer for tests: stock kombu, exactly the message that the protocol fixes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from kombu.connection import Connection
from kombu.messaging import Producer

from memrepo.clock import system_clock
from memrepo.limits import MIB, REQUEST_KEPT_S
from memrepo.models import FileChange
from memrepo.routing import route
from memrepo.wire.operations import operation_of, request_to_json, request_to_payload
from memrepo.wire.payload import LARGE_BYTES
from memrepo.wire.payload_store import PayloadStore, request_payload
from memrepo.wire.requests.base import HEAD_FIELDS, Request
from memrepo.wire.requests.reads import GetHeadShaRequest
from memrepo.wire.requests.writes import CommitRequest
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for


@dataclass
class Sender:
    """Puts requests on their queues and looks for their results."""

    server: Valkey
    shards: int
    producer: Producer = field(repr=False)
    reply_to: str | None = None

    def commit(self, org: str, agent: str, message: str = "m", content: bytes = b"SECRET-CONTENT") -> str:
        """Enqueue a commit and return its id."""
        return self.send(commit_request(org, agent, message, content))

    def read(self, org: str, agent: str) -> str:
        """Enqueue a read and return its id."""
        return self.send(
            GetHeadShaRequest(org_id=org, agent_id=agent, request_id=str(uuid4()), enqueued_at=system_clock())
        )

    def send(self, request: Request, **overrides: Any) -> str:
        """Enqueue a request; ``overrides`` replace parts of the message, for forgeries."""
        task_id: str = overrides.pop("task_id", request.request_id)
        queue = overrides.pop("queue", route(request.org_id, request.agent_id, self.shards))
        message = {
            "body": [[], self._kwargs(request, overrides), {}],
            "headers": {
                "lang": "py",
                "task": operation_of(request).task_name,
                "id": task_id,
                "argsrepr": "()",
                "kwargsrepr": request.public_summary,
            },
            **overrides,
        }
        self.producer.publish(
            message.pop("body"),
            exchange="",
            routing_key=queue,
            serializer="json",
            correlation_id=task_id,
            reply_to=self.reply_to,
            **message,
        )
        return task_id

    def _kwargs(self, request: Request, overrides: Mapping[str, Any]) -> dict[str, Any]:
        if request.size_bytes <= LARGE_BYTES or "body" in overrides:
            return {"request": request_to_json(request)}
        chunks = PayloadStore(self.server.raw_client(), 512 * MIB)
        claim = chunks.put(request_payload(request.request_id), request_to_payload(request), REQUEST_KEPT_S)
        head = request.model_dump(mode="json", include=set(HEAD_FIELDS))
        return {"request": head, "body": claim.model_dump()}

    def meta(self, task_id: str) -> dict[str, Any] | None:
        """Return the stored state of a job, if there is one."""
        with self.server.client() as client:
            stored = client.get(f"celery-task-meta-{task_id}")
        return json.loads(stored) if stored else None

    def final(self, task_id: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait for the job's final state."""
        return wait_for(lambda: self._final(task_id), f"a result of {task_id}", timeout_s)

    def _final(self, task_id: str) -> dict[str, Any] | None:
        meta = self.meta(task_id)
        return meta if meta and meta["status"] in ("SUCCESS", "FAILURE", "REVOKED") else None


def commit_request(
    org: str, agent: str, message: str = "m", content: bytes = b"x", **values: Any
) -> CommitRequest:
    """Build a commit of one file."""
    return CommitRequest(
        **{
            "org_id": org,
            "agent_id": agent,
            "request_id": str(uuid4()),
            "enqueued_at": system_clock(),
            "changes": (FileChange(path="secret-path.md", content=content),),
            "message": message,
            **values,
        }
    )


@contextmanager
def sender(server: Valkey, shards: int, reply_to: str | None = None) -> Iterator[Sender]:
    """Give a sender whose connection is closed when the block ends."""
    with Connection(server.url, transport_options={"priority_steps": [0]}) as connection:
        yield Sender(server, shards, Producer(connection), reply_to)
