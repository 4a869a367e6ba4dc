"""A stand-in for a worker: takes messages off the shard queues with bare redis-py and answers as told.

It knows the protocol from its text alone, not from our code, so it notices when a message changes.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from memrepo.errors import MemoryRepoError
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

SHA = "a" * 40
Answer = Callable[["Taken"], object]


@dataclass(frozen=True)
class Taken:
    """One message as it lay in the queue."""

    queue: str
    envelope: dict[str, Any]

    @property
    def headers(self) -> dict[str, Any]:
        return dict(self.envelope["headers"])

    @property
    def properties(self) -> dict[str, Any]:
        return dict(self.envelope["properties"])

    @property
    def body(self) -> Any:
        return json.loads(base64.b64decode(self.envelope["body"]))

    @property
    def request(self) -> dict[str, Any]:
        return dict(self.body[1]["request"])

    @property
    def id(self) -> str:
        return str(self.headers["id"])


class StandIn:
    """Takes messages while it runs; ``answer`` gives a result as JSON, an error, or None for silence."""

    def __init__(self, server: Valkey, answer: Answer = lambda _: SHA) -> None:
        self.answer = answer
        self.taken: list[Taken] = []
        self.publishes = True
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_taken(self, count: int) -> list[Taken]:
        wait_for(lambda: len(self.taken) >= count, f"{count} messages")
        return self.taken

    def store(self, task_id: str, state: str, result: object = None, reply_to: str = "") -> None:
        """Store a record at its key and publish it, as a worker does."""
        record = json.dumps(
            {"status": state, "result": result, "traceback": None, "children": [], "task_id": task_id}
        )
        with self._server.client() as client:
            client.set(f"celery-task-meta-{task_id}", record, ex=60)
            if self.publishes and reply_to:
                client.publish(reply_to, record)

    def settle(self, taken: Taken, outcome: object) -> None:
        reply_to = taken.properties["reply_to"]
        if isinstance(outcome, MemoryRepoError):
            self.store(taken.id, "FAILURE", failure(outcome), reply_to)
        else:
            self.store(taken.id, "SUCCESS", outcome, reply_to)

    def _run(self) -> None:
        with self._server.client() as client:
            while not self._stop.is_set():
                if (taken := self._take(client)) is None:
                    continue
                self.taken.append(taken)
                if (outcome := self.answer(taken)) is not None:
                    self.settle(taken, outcome)

    def _take(self, client: Any) -> Taken | None:
        try:
            found = client.brpop([f"memrepo.{shard:03d}" for shard in range(64)], timeout=0.05)
        except redis.ConnectionError:  # a test cut all connections, ours too
            return None
        return None if found is None else Taken(found[0], json.loads(found[1]))


def claim(server: Valkey, queue: str) -> None:
    """Have it look as if a worker served a queue, for ever."""
    with server.client() as client:
        client.hset("memrepo:owners", queue.removeprefix("memrepo."), "token worker")
        client.zadd("memrepo:leases", {queue.removeprefix("memrepo."): 9e12})


def failure(error: MemoryRepoError) -> dict[str, object]:
    """Write an error as Celery's result backend does."""
    return {
        "exc_type": type(error).__name__,
        "exc_message": [error.message, error.details],
        "exc_module": "memrepo.errors",
    }


@contextmanager
def stand_in(server: Valkey, answer: Answer = lambda _: SHA) -> Iterator[StandIn]:
    with StandIn(server, answer) as worker:
        yield worker
