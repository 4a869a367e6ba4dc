"""Ordered commits and interleaved reads, sent through whatever happens to the broker."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import redis
from kombu.connection import Connection
from kombu.messaging import Producer

from memrepo.clock import system_clock
from memrepo.models import FileChange
from memrepo.wire.requests.base import Request
from memrepo.wire.requests.reads import GetHeadShaRequest
from memrepo.wire.requests.writes import CommitRequest
from tests.support.sending import Sender
from tests.support.valkey import Valkey

RESEND_AFTER_S = 20.0
LARGE_EVERY = 10
"""So often a commit is too large for its message: its body travels beside it."""

FINAL = ("SUCCESS", "FAILURE", "REVOKED")


@dataclass
class Sent:
    """One request; ``places`` are all moments at which it may have been enqueued, in the driver's own count."""

    request: Request
    places: list[int] = field(default_factory=list)
    sent_s: float = 0.0
    done_s: float = 0.0
    meta: dict[str, Any] | None = None


@dataclass
class Load:
    """One client of all agents. What it sent is in ``sent``, by request id."""

    server: Valkey
    shards: int
    agents: list[str]
    random: Random
    sent: dict[str, Sent] = field(default_factory=dict)
    _outstanding: dict[str, Sent] = field(default_factory=dict)
    _place: int = 0
    _sender: Sender | None = None
    _sending: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def commit(self, number: int) -> None:
        """Send a commit of some agent."""
        text = f"{number}: {self.random.random()}\n".encode() * (5_000 if number % LARGE_EVERY == 0 else 1)
        change = FileChange(path=f"notes/{number % 50}.md", content=text)
        request = CommitRequest(
            **self._names(self.random.choice(self.agents)),
            changes=(change,),
            message=f"commit {number}",
            create_repo_if_missing=True,
        )
        self._send(Sent(request))

    def read(self) -> None:
        """Send a read of some agent that has commits."""
        committed = sorted({one.request.agent_id for one in self.sent.values()})
        self._send(Sent(GetHeadShaRequest(**self._names(self.random.choice(committed)))))

    def commits(self, agent: str) -> list[Sent]:
        """Return an agent's commits as sent."""
        return [one for one in self.sent.values() if one.request.MUTATES and one.request.agent_id == agent]

    def reads(self, agent: str) -> list[Sent]:
        """Return an agent's reads as sent."""
        return [
            one for one in self.sent.values() if not one.request.MUTATES and one.request.agent_id == agent
        ]

    def all_done(self) -> bool:
        """Whether every request has its final state."""
        return not self._outstanding

    def longest_wait_s(self, since_s: float, until_s: float) -> float:
        """Return how long the slowest request that was under way between two moments waited after the first."""
        waits = [
            one.done_s - max(one.sent_s, since_s)
            for one in self.sent.values()
            if one.sent_s < until_s and one.done_s > since_s
        ]
        return max(waits, default=0.0)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look for results, and send again what vanished, for as long as the block runs."""
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._over.set()
            watcher.join(20)

    def _names(self, agent: str) -> dict[str, Any]:
        return {
            "org_id": "acme",
            "agent_id": agent,
            "request_id": str(uuid4()),
            "enqueued_at": system_clock(),
        }

    def _send(self, one: Sent) -> None:
        request_id = one.request.request_id
        with self._sending:
            one.sent_s = time.monotonic()
            self.sent[request_id] = self._outstanding[request_id] = one
            while True:
                self._place += 1
                one.places.append(self._place)
                try:
                    self._open().send(one.request)
                    return
                except Exception:  # noqa: BLE001 - kombu on a closed socket raises whatever it meets first
                    self._sender = None
                    time.sleep(0.05)

    def _open(self) -> Sender:
        if self._sender is None:
            connection = Connection(
                self.server.url, transport_options={"priority_steps": [0], "socket_timeout": 5}
            )
            self._sender = Sender(self.server, self.shards, Producer(connection))
        return self._sender

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            try:
                self._collect()
            except redis.RedisError:
                continue

    def _collect(self) -> None:
        waiting = list(self._outstanding.items())
        if not waiting:
            return
        with self.server.client() as client:
            metas = client.mget([f"celery-task-meta-{request_id}" for request_id, _ in waiting])
        now = time.monotonic()
        for (request_id, one), stored in zip(waiting, metas, strict=True):
            meta = json.loads(stored) if stored else None
            if meta and meta["status"] in FINAL:
                one.meta, one.done_s = meta, now
                del self._outstanding[request_id]
            elif now - one.sent_s > RESEND_AFTER_S * len(one.places):
                self._send_again(one)

    def _send_again(self, one: Sent) -> None:
        with self._sending, contextlib.suppress(Exception):
            self._place += 1
            one.places.append(self._place)
            self._open().send(one.request)
