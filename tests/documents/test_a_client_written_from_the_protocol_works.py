"""docs/protocol.md says what it takes: a client that was written from that page alone is served by a real worker."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic_core import PydanticUndefined

from memrepo.wire.operations import OPERATIONS
from memrepo.wire.requests.base import HEAD_FIELDS
from memrepo.wire.schema import schema
from memrepo.wire.versions import MESSAGE_VERSION
from tests.support.systems import running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()


class Client:
    """Sixty lines: no memrepo, no Celery, no kombu."""

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)

    def send(self, operation: str, org: str, agent: str, **fields: Any) -> str:
        task_id = str(uuid.uuid4())
        shards = int(self.redis.get("memrepo:shards") or 64)
        digest = hashlib.blake2b(f"{org}\0{agent}".encode(), digest_size=8).digest()
        queue = f"memrepo.{int.from_bytes(digest, 'big') % shards:03d}"
        version = fields.pop("version", 1)
        request = {
            "org_id": org,
            "agent_id": agent,
            "request_id": fields.pop("request_id", task_id),
            "enqueued_at": time.time(),
            **fields,
        }
        body = base64.b64encode(json.dumps([[], {"request": request}, {}]).encode()).decode()
        message = {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "any",
                "task": f"memrepo.{operation}",
                "id": task_id,
                "memrepo_version": version,
                "argsrepr": "()",
                "kwargsrepr": f"{org}/{agent}",
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "body_encoding": "base64",
                "delivery_tag": task_id,
                "delivery_mode": 2,
                "priority": 0,
                "delivery_info": {"exchange": "", "routing_key": queue},
            },
        }
        self.redis.lpush(queue, json.dumps(message))
        return task_id

    def record(self, task_id: str) -> dict[str, Any] | None:
        record = json.loads(self.redis.get(f"celery-task-meta-{task_id}") or "{}")
        return record if record.get("status") in ("SUCCESS", "FAILURE", "REVOKED") else None

    def ask(self, operation: str, org: str, agent: str, **fields: Any) -> Any:
        task_id = self.send(operation, org, agent, **fields)
        record = wait_for(lambda: self.record(task_id), f"the record of {operation}")
        if record["status"] != "SUCCESS":
            raise LookupError(record["result"]["exc_type"], record["result"]["exc_message"][0])
        return record["result"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("protocol")
    with (
        valkey(folder / "broker") as broker,
        running_worker(folder / "worker", broker, f"file://{folder}/store") as system,
    ):
        yield Client(system.broker_url)


def test_it_commits_and_reads_in_order(client: Client) -> None:
    files = [{"path": "human.md", "content": {"utf8": "likes tea\n"}}]

    made = client.ask("create_repo", "acme", "agent-42", initial_files=files)
    client.send(
        "commit", "acme", "agent-42", message="one",
        changes=[{"path": "raw", "content": {"base64": base64.b64encode(b"\0\xff").decode()}}],
    )  # fmt: skip
    read = client.ask("get_files", "acme", "agent-42")

    assert re.fullmatch("[0-9a-f]{40}", made["sha"])
    assert read["files"]["human.md"]["data"] == {"utf8": "likes tea\n"}
    assert base64.b64decode(read["files"]["raw"]["data"]["base64"]) == b"\0\xff"
    assert [one["message"] for one in client.ask("get_history", "acme", "agent-42")] == [
        "one",
        "Initial commit",
    ]


def test_the_same_request_id_is_applied_once(client: Client) -> None:
    change: dict[str, Any] = {"message": "m", "changes": [{"path": "a", "content": {"utf8": "x"}}]}
    once = client.ask(
        "commit", "acme", "twice", create_repo_if_missing=True, request_id="my-own-id-1", **change
    )

    again = client.ask(
        "commit", "acme", "twice", create_repo_if_missing=True, request_id="my-own-id-1", **change
    )

    assert again == once
    assert len(client.ask("get_history", "acme", "twice")) == 1


def test_an_error_names_its_class_and_says_why(client: Client) -> None:
    with pytest.raises(LookupError, match="RepoNotFoundError"):
        client.ask("get_head_sha", "acme", "nobody")


def test_a_message_of_a_newer_version_is_answered_that_the_worker_is_older(client: Client) -> None:
    with pytest.raises(LookupError, match="upgrade the workers first"):
        client.ask("get_head_sha", "acme", "agent-42", version=MESSAGE_VERSION + 1)


def test_the_operations_on_the_page_have_these_fields_and_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|[^|]*\|$", PAGE, re.MULTILINE))
    shown = rows.keys() & OPERATIONS.keys()

    assert {name: fields_on_page(rows[name]) for name in shown} == {name: fields_of(name) for name in shown}
    assert {"create_repo", "commit", "get_files"} <= shown


def test_the_schema_says_what_each_operation_is_asked_and_answers() -> None:
    printed = schema()
    operations = printed["operations"]
    assert isinstance(operations, dict)
    commit, read = (json.dumps(operations[name]) for name in ("commit", "get_file"))

    assert printed["memrepo_version"] == MESSAGE_VERSION
    assert operations.keys() == OPERATIONS.keys()
    assert all(text in commit for text in ("expected_sha256", "utf8", "base64", "files_changed"))
    assert "executable" in read


def fields_on_page(cell: str) -> dict[str, str | None]:
    found = re.findall(r"`(\w+)`(?: = ([^,]+))?", cell)
    return {name: default.strip() or None for name, default in found}


def fields_of(operation: str) -> dict[str, str | None]:
    """The fields of a request that are not every request's, with their defaults as JSON; an author's is left to it."""
    return {
        name: None
        if field.default is PydanticUndefined or name == "author"
        else json.dumps(list(field.default) if isinstance(field.default, tuple) else field.default)
        for name, field in OPERATIONS[operation].request.model_fields.items()
        if name not in HEAD_FIELDS
    }


def test_the_page_is_of_the_version_that_is_sent() -> None:
    assert f"is the version of this page: {MESSAGE_VERSION}." in PAGE
